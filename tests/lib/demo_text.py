# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo's report for people: what happened when, within 100 columns."""

import os
import sys

BAR = 20
MOVE_STEPS = {  # as the source tells them; the commit is the target's
    "rehearse": "{to} checks all it needs; its QEMU waits",
    "ready": "yes; Pacemaker is told to move it",
    "save": "the guest runs; {written} to storage{rate}",
    "pause": "the guest stops; last pages, device state, seal",
    "load": "{to} loads {what}",
    "commit": "{to} owns it, and the guest runs on",
    "clean": "the QEMU on {from} ends",
    "done": "",
}
FAILURE_STEPS = (
    ("detected_ms", "detected", "the cluster has lost {lost}"),
    ("fenced_ms", "fenced", "{lost} is proven to be off, and turned on"),
    ("started_ms", "started", "Pacemaker has it on {started_on} ({started_mode})"),
    ("answers_ms", "answers", "the guest has booted"),
)


def style(code, text):
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\033[{code}m{text}\033[0m" if coloured else text


def mib(count):
    return f"{count / 2**20:.0f} MiB"


def head(number, title):
    print(f"\n{style('1', f'{number}  {title}')}")


def chart(steps, paused=()):
    """STEPS are (ms, name, text); a bar shows how long each lasts, a heavy one where the guest is
    PAUSED."""
    end = steps[-1][0] or 1
    for (at, name, text), (following, *_) in zip(steps, [*steps[1:], steps[-1]]):
        first, last = (round(moment / end * BAR) for moment in (at, following))
        mark = "█" if name in paused else "─"
        bar = " " * min(first, BAR - 1) + mark * max(1, last - first) if at < end else ""
        print(f"   {at / 1000:7.3f} s  {bar:<{BAR}.{BAR}}  {name:<9} {text}".rstrip())


def facts(*pairs):
    for name, text in pairs:
        print(f"   {style('1', f'{name:<10}')} {text}")


def tell(part):
    """Prints a part of the report."""
    sys.stdout.reconfigure(errors="replace")
    for key, function in (("stage", tell_stage), ("move", tell_move), ("failure", tell_failure)):
        if key in part:
            function(part[key])
    sys.stdout.flush()


def tell_stage(stage):
    print(f"\nvmferry demo: a cluster of {' '.join(stage['nodes'])}; VM \"{stage['vm']}\" on "
          f"{stage['runs_on']}, {stage['memory_mib']} MiB with {stage['filled_mib']} MiB of random "
          f"data\nQEMU {stage['qemu']} with {stage['accelerator']}; the guest counts in memory and "
          "tells the counter to whoever asks")


# ---- act 1

def move_steps(move):
    last = move["last_move"]
    rate = move["bytes_per_s"]
    what = mib(last["bytes_read"]) if last["mode"] == "eager" else \
        "the devices' state; the pages follow"
    words = {"from": move["from"], "to": move["to"], "written": mib(last["bytes_written"]),
             "rate": f" at {mib(rate)}/s" if rate else "", "what": what}
    steps, seen = [], set()
    for step in move["phases"]:
        name = step["phase"]
        teller = move["to"] if name == "commit" else move["from"]
        if name not in seen and step["node"] == teller:
            seen.add(name)
            steps.append((step["at_ms"], name, MOVE_STEPS.get(name, "").format(**words)))
    return steps


def tell_move(move):
    if "phases" not in move:
        return
    last, client = move["last_move"], move["client"]
    head(1, f"vmferry migrate demo --to {move['to']}   (a client asks every millisecond)")
    chart(move_steps(move), paused=("pause", "load"))
    facts(("blackout", f"{last['blackout_ms']:.0f} ms as vmferry measured it: pause "
                       f"{last['pause_ms']:.0f} ms, load {last['load_ms']:.0f} ms"),
          ("", f"{client['max_gap_ms']:.0f} ms as the client saw it: until the guest had what it "
               "needs to answer, and"),
          ("", "TCP had asked again"),
          ("client", f"one TCP connection, {client['probes']} questions, {client['answered']} "
                     f"answers"),
          ("counter", f"{client['first']} -> {client['last']}, went back {client['went_back']} "
                      f"times; memory {'unchanged' if move['memory_unchanged'] else 'CHANGED'}"))


# ---- act 2

def tell_failure(failure):
    head(2, f"{failure['lost']} loses its power   (nobody does anything)")
    known = [(failure[key], name, text.format(**failure))
             for key, name, text in FAILURE_STEPS if failure[key] is not None]
    chart([(0, "power cut", ""), *sorted(known)])
    back = failure["back_ms"]
    facts(("outage", f"{failure['answers_ms'] / 1000:.1f} s; the guest's own boot took the last "
                     f"{(failure['answers_ms'] - failure['started_ms']) / 1000:.1f} s")
          if None not in (failure["answers_ms"], failure["started_ms"]) else
          ("outage", "not over"),
          ("cluster", f"{failure['lost']} booted and was a member again within {back / 1000:.1f} s"
           if back is not None else f"{failure['lost']} has not come back yet"))


# ---- the end

def tell_verdict(report):
    if report["ok"]:
        print(f"\n{style('1;32', 'OK')}  moved with its memory and its connections; after the power cut up "
              "again by itself")
    for text in report["failed"]:
        print(f"\n{style('1;31', 'FAILED')}  {text}")
    sys.stdout.flush()
