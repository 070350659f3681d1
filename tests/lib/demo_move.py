# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo's first act: a planned move while a client asks without a pause."""

import sys
import time

import demo_events as events
from cluster import wait_for
from demo_guest import Probe

CALM_SECONDS = 1  # of probing before and after the move
EVENT_SECONDS = 10


def play(cluster, vm, source, target):
    """Moves VM; returns what happened, and a list of what did not hold."""
    checksum = sum_of(vm)
    with Probe(vm.ip) as probe:
        time.sleep(CALM_SECONDS)
        begin = time.time()
        print(f"vmferry migrate {vm.name} --to {target}", file=sys.stderr)
        moved = cluster.vmferry("migrate", vm.name, "--to", target, check=False)
        command_ms = events.ms(time.time() - begin)
        time.sleep(CALM_SECONDS)
        seen = probe.end()
    if moved.returncode != 0:
        return {"client": seen}, [f"vmferry migrate failed: {moved.stderr.strip()}"]
    phases = phases_of(cluster, vm, begin)
    shown = cluster.show(vm.name)
    last = shown["last_move"]
    act = {"from": last["from"], "to": last["to"], "runs_on": shown["node"],
           "command_ms": command_ms, "phases": phases, "last_move": last,
           "bytes_per_s": storage_rate(last, phases),
           "memory_unchanged": sum_of(vm) == checksum, "client": seen}
    return act, judge(act, source, target)


def sum_of(vm):
    guest = vm.guest()
    checksum = guest.sum()
    guest.close()
    return checksum


def phases_of(cluster, vm, begin):
    """The move's steps in their order: ms since BEGIN, and the node that tells."""
    done = wait_for("the move's last event",
                    lambda: events.first(cluster, begin, "move.done"), EVENT_SECONDS)
    found = [(event["details"]["phase"], event) for event in events.since(cluster, begin)
             if event["type"] == "move.phase" and event.get("vm") == vm.name]
    steps = [{"phase": phase, "node": event["node"], "at_ms": event["at_ms"]}
             for phase, event in [*found, ("done", done)]]
    return sorted(steps, key=lambda step: step["at_ms"])


def storage_rate(last, phases):
    """Bytes per second to shared storage, from the first page to the seal; None if unknown."""
    at = {step["phase"]: step["at_ms"] for step in phases if step["node"] == last["from"]}
    if "save" not in at or at.get("load", 0) <= at["save"]:
        return None
    return round(last["bytes_written"] / (at["load"] - at["save"]) * 1000)


def judge(act, source, target):
    seen = act["client"]
    went = (act["from"], act["to"], act["runs_on"])
    checks = (
        (went == (source, target, target),
         f"the move was to go {source} -> {target}, it went {went[0]} -> {went[1]}, "
         f"and the VM runs on {went[2]}"),
        (seen["answered"] > 0, "the client got no answer"),
        (seen["went_back"] == 0, f"the counter went back {seen['went_back']} times"),
        (not seen["connection_lost"] and seen["reconnects"] == 0,
         "the client's TCP connection broke"),
        (len(seen["bootids"]) == 1, "the guest was booted anew"),
        (act["memory_unchanged"], "the guest's memory changed"),
    )
    return [text for held, text in checks if not held]
