# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo's report for people, within 100 columns."""

import os
import sys

BAR = 30
MOVE_STEPS = {
    "rehearse": "{target} checks definition, disks, bridges, memory; starts a QEMU that waits",
    "ready": "{target} can take it",
    "save": "{written} to shared storage{rate}, {passes} passes; the guest runs",
    "pause": "the last pages, the devices' state, the seal",
    "load": "{target} reads {read}",
    "commit": "{target} owns it: the guest runs on",
    "clean": "{source}'s QEMU ends",
    "return": "{source} takes it back",
    "done": "",
}
FAILURE_STEPS = (
    ("detected_ms", "lost", "the cluster misses {lost}"),
    ("fenced_ms", "fenced", "{lost} is proven to be off"),
    ("started_ms", "started", "Pacemaker has it started on {started_on}"),
    ("answers_ms", "answers", "the guest is up again, booted anew"),
    ("back_ms", "back", "{lost} is a member again: its fencing booted it"),
)


def style(code, text):
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\033[{code}m{text}\033[0m" if coloured else text


def mib(count):
    return f"{count / 2**20:.0f} MiB"


def head(number, title):
    print(f"\n{style(1, f'Act {number}: {title}')}")


def step(at_ms, name, text):
    print(f"  {at_ms / 1000:7.3f} s  {name:<10}{text}".rstrip())


def fact(name, text):
    print(f"  {'':9}  {style(1, f'{name:<10}')}{text}")


def tell(part):
    """Prints a part of the report as soon as it is there."""
    sys.stdout.reconfigure(errors="replace")
    for key, function in (("stage", tell_stage), ("move", tell_move), ("failure", tell_failure)):
        if key in part:
            function(part[key])
    sys.stdout.flush()


def tell_stage(stage):
    print(f"\n{style(1, 'vmferry demo')}: {', '.join(stage['nodes'])}; VM {stage['vm']} with "
          f"{stage['memory_mib']} MiB ({stage['filled_mib']} MiB random data) on "
          f"{stage['runs_on']}, QEMU {stage['qemu']}, {stage['accelerator']}")
