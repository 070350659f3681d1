# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest under KVM on real nodes: what was installed is sound, and a planned move loses nothing."""
import json

from vmcluster import (AFTER_SECONDS, CALM_SECONDS, LabVm, build_probe, probed_move, quick,
                       ready_paths)

FILL_MIB = 16
WORK_MBPS = 1
DOCTOR_TRIES = 5
CLOCK_BOUND_S = 0.1  # how far the guest's clocks may be off after a move
# What the lab deserves by its nature: one network for corosync.
EXPECTED = {"corosync-one-link"}


@quick
def test_installed(cluster):
    """The packages as they are: units of systemd, and KVM."""
    for node in cluster.names:
        for unit in ("corosync", "pacemaker", "vmferryd", "multipathd"):
            assert cluster.on(node, "systemctl", "is-active", unit).stdout.strip() == "active", (node, unit)
        shown = cluster.json("node", node)
        assert shown["accelerator"] == "kvm", shown
        print(f"  {node}: QEMU {shown['qemu_version']}, {shown['accelerator_reason']}")


@quick
def test_doctor(cluster):
    """Nothing to find but what the lab is. A node that is busy may not have looked everywhere in time."""
    for _ in range(DOCTOR_TRIES):
        done = cluster.vmferry("--json", "doctor", check=False)
        found = {one["id"]: one for one in json.loads(done.stdout)["findings"]}
        for name, one in found.items():
            print(f"  {one['level']}: {name}: {one['seen']}", flush=True)
        if "not-looked-at" not in found:
            break
    assert set(found) <= EXPECTED, f"not expected: {sorted(set(found) - EXPECTED)}"
    assert done.returncode == 0, done.stdout


def memory_of(guest):
    """What the filled memory was before any work, which ends here; fails where a write is missing in it."""
    answer = guest.ask("worksum")
    assert answer[0] == "worksum", answer
    return answer[1]


@quick
def test_move_under_kvm(cluster):
    """There and, with a guest that works, back: memory, connection, records and clocks."""
    probe = build_probe(cluster.places.directory)
    vm = LabVm(cluster, "mover").define()
    guest = vm.guest()
    guest.socket.settimeout(300)
    guest.fill(FILL_MIB)
    guest.ask("work 0")
    before, boot = memory_of(guest), guest.counter()[1]
    guest.ask("disk 20")
    for work in (0, WORK_MBPS):
        source = vm.node()
        if work:
            guest.ask(f"work {work}")
        seen, last, move = probed_move(cluster, vm, cluster.other(source), probe)
        assert vm.node() == cluster.other(source)
        for lun in (vm.disk, vm.area, vm.journal):
            assert ready_paths(cluster, vm.node(), lun) == 2, lun
        assert memory_of(guest) == before, "the guest's memory changed"
        assert guest.counter()[1] == boot, "the guest was booted anew"
        guest.ask("disk 20")
        tell(source, vm.node(), seen, last)
        check_clocks(probe, move, last)
    assert vm.records() == 60
    guest.close()
    vm.remove()


def tell(source, target, seen, last):
    """LAST: the move as vmferry tells of it; None where it was a stop and a start."""
    silences = ", ".join(f"{length:.0f} at {at:.1f} s" for at, length in sorted(seen["silences"]))
    told = f"blackout {last['blackout_ms']:.0f} ms by vmferry" if last else "stopped and started"
    print(f"  {source} -> {target}: {told}; longest silences from outside "
          f"(ms): {silences}; the guest's ticks: {seen['guest_longest_gap_ms']:.0f} ms; {seen['total_s']:.1f} s in "
          f"all; at rest up to {seen['idle_gap_ms']:.0f} ms", flush=True)


def check_clocks(probe, move, last):
    """The guest's clocks beside this computer's; the quickest answers tell best. Its steady clock stands still
    while the guest does, and makes no other step; its time of day is right again."""
    calm, after = (move.asked - CALM_SECONDS, move.asked), (move.settled, move.settled + AFTER_SECONDS)
    stood = probe.seen.clock_offset(*after) - probe.seen.clock_offset(*calm)
    before, now = probe.seen.wall_lag(*calm), probe.seen.wall_lag(*after)
    print(f"  the guest's clock stood still for {stood * 1000:.0f} ms; its time of day is {before * 1000:.0f} ms late "
          f"before and {now * 1000:.0f} ms after the move", flush=True)
    blackout = last["blackout_ms"] / 1000
    assert -CLOCK_BOUND_S <= stood <= blackout + CLOCK_BOUND_S, (stood, blackout)
    assert abs(now) <= CLOCK_BOUND_S, f"the guest's time of day is off by {now * 1000:.0f} ms"
