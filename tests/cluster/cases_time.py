# SPDX-License-Identifier: GPL-2.0-or-later
"""The time of day of a guest that was saved or moved, set by the real guest agent in it."""

import os
import time

from cluster import Skipped, Vm, wait_for

RIGHT_MS = 100
OFF_SECONDS = 5
SAMPLES = 15


def agent_vm(cluster, name, cmdline=""):
    why = os.environ.get("VMFERRY_GUEST_AGENT_WHY")
    if why:
        raise Skipped(f"no guest agent for the test guest: {why}")
    vm = Vm(cluster, name, guest_agent=True)
    vm.definition["boot"]["initrd"] = "/srv/shared/guest/initrd-agent.img"
    vm.definition["boot"]["cmdline"] += cmdline
    return vm.define()


def offset_ms(guest):
    """How far the guest's time of day is ahead of ours, by the quickest of some answers."""
    samples = []
    for _ in range(SAMPLES):
        asked = time.time()
        told = int(guest.ask("time")[1]) / 1e9
        trip = time.time() - asked
        samples.append((trip, told - asked - trip / 2))
    return min(samples)[1] * 1000


def state_of(vm):
    """Boot id and memory, for comparing; and how far its time is off."""
    guest = vm.guest()
    try:
        return (guest.counter()[1], guest.sum()), offset_ms(guest)
    finally:
        guest.close()


def told_since(cluster, vm, since):
    return [event for event in cluster.events("--since", str(since))
            if event.get("vm") == vm.name and event["type"].startswith("vm.time-")]


def outcome(cluster, vm, since):
    """The event that tells about its time, the only one."""
    wait_for(f"what is told of the time of {vm.name}", lambda: told_since(cluster, vm, since), 60)
    event, = told_since(cluster, vm, since)
    return event


def check_right(cluster, vm, before, since, how):
    event = outcome(cluster, vm, since)
    assert event["type"] == "vm.time-set", event["message"]
    after, off = state_of(vm)
    details = event["details"]
    print(f"  {how}: off by {details['before_ms']:.1f} ms, then by {details['after_ms']:.1f} ms (steps: "
          f"{details['steps']}, round trip {details['round_trip_ms']:.1f} ms); seen from outside {off:.1f} ms")
    assert after == before, "the guest was booted anew, or its memory changed"
    assert abs(off) <= RIGHT_MS, f"the guest's time is off by {off:.1f} ms"
    return details


def test_time_is_set(cluster):
    vm = agent_vm(cluster, "watch")
    guest = vm.guest()
    guest.fill(64)
    guest.close()
    before, off = state_of(vm)
    print(f"  off by {off:.1f} ms since it was booted")
    since = cluster.last_event()
    cluster.vmferry("stop", vm.name, "--save")
    time.sleep(OFF_SECONDS)
    cluster.vmferry("start", vm.name)
    details = check_right(cluster, vm, before, since, "saved and started")
    assert details["before_ms"] < -1000 * (OFF_SECONDS - 1), "its clock did not stand still"
    since = cluster.last_event()
    cluster.vmferry("migrate", vm.name)
    check_right(cluster, vm, before, since, "moved")
    vm.remove()


def test_time_without_an_agent(cluster):
    """The port is there, but nobody in the guest listens: that is told, and nothing fails. A move that
    comes while the first one's answer is waited for is told of once."""
    vm = agent_vm(cluster, "timeless", " guest.agent=0")
    before, _ = state_of(vm)
    source = cluster.node_of(vm.name)
    since = cluster.last_event()
    cluster.vmferry("migrate", vm.name)
    assert cluster.node_of(vm.name) not in (None, source)
    cluster.vmferry("migrate", vm.name, "--to", source)
    assert cluster.node_of(vm.name) == source
    event = outcome(cluster, vm, since)
    assert event["type"] == "vm.time-not-set", event["message"]
    assert event["node"] == source, event
    assert "is qemu-guest-agent installed" in event["message"], event["message"]
    assert state_of(vm)[0] == before, "the guest was booted anew, or its memory changed"
    vm.remove()
