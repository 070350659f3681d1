# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo's second act: the VM's node loses its power, and nobody does anything."""

import sys
import time

import demo_events as events
from cluster import GUEST_PORT, wait_for
from demo_guest import boot_of, first_answer
from demo_power import PowerCut

ANSWER_SECONDS = 120
EVENT_SECONDS = 10
BACK_SECONDS = 60


def play(cluster, vm, lost, asked):
    """Cuts the power of node LOST; returns what happened, and a list of what did not hold."""
    boot = boot_of(vm.ip, GUEST_PORT)
    print(f"lab kill {lost}", file=sys.stderr)
    begin = time.time()
    with PowerCut(cluster.name, lost) as power:
        answer = first_answer(vm.ip, GUEST_PORT, ANSWER_SECONDS)
    started = event_of(cluster, begin, "vm.started", lambda event: event.get("vm") == vm.name)
    gone = event_of(cluster, begin, "node.lost", lambda event: event["details"]["lost"] == lost)
    act = {"lost": lost, "detected_ms": gone and gone["at_ms"],
           "fenced_ms": power.on_again and events.ms(power.on_again - begin),
           "started_ms": started and started["at_ms"],
           "started_on": started and started["node"],
           "started_mode": started and started["details"]["mode"],
           "answers_ms": answer and events.ms(answer[0] - begin),
           "runs_on": cluster.node_of(vm.name), "qemus": cluster.qemus(vm.name),
           "new_boot": bool(answer) and answer[1] != boot,
           "fencing": events.fencing(cluster, begin, asked, lost),
           "back_ms": back(cluster, begin, lost)}
    return act, judge(act)


def event_of(cluster, begin, kind, matches):
    try:
        return wait_for(kind, lambda: events.first(cluster, begin, kind, matches), EVENT_SECONDS)
    except AssertionError:
        return None


def back(cluster, begin, lost):
    """When the lost node was a member again: fencing boots it. None where that takes longer."""
    try:
        wait_for(f"{lost} online", lambda: lost in cluster.online(), BACK_SECONDS)
    except AssertionError:
        return None
    return events.ms(time.time() - begin)


def judge(act):
    lost = act["lost"]
    checks = (
        (act["answers_ms"] is not None,
         f"no guest answered within {ANSWER_SECONDS} s after the power cut of {lost}"),
        (act["started_ms"] is not None, "no node told that it started the VM"),
        (act["fencing"] is not None, f"Pacemaker's history has no fencing of {lost}"),
        (act["runs_on"] not in (None, lost), f"the VM runs on {act['runs_on'] or 'no node'}"),
        (act["qemus"] == [act["runs_on"]], f"QEMU processes of the VM on: {act['qemus']}"),
        (act["new_boot"], "the guest's boot id is not a new one"),
    )
    return [text for held, text in checks if not held]
