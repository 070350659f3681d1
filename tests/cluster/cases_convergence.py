# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that changes its memory faster than the storage takes it: throttle, then the policy."""

import contextlib
import json
import time
from pathlib import Path

from cluster import Skipped, Vm, wait_for

AREA = "/srv/lun/lun2"
STORAGE_BYTES = 40_000_000  # a second
DIRTY_MB = 200              # a second: more than the storage takes even from half of the CPU
LIMITS = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")
FORECAST = {"expected_blackout_ms", "expected_blackout_margin_ms"}


@contextlib.contextmanager
def slow_storage(cluster):
    """The state area's device takes STORAGE_BYTES a second."""
    if not LIMITS.exists():
        raise Skipped("no blkio controller of cgroup v1: the storage cannot be made slow here")
    major, minor = (int(number, 16) for number in
                    cluster.on("n1", "stat", "-c", "%t %T", AREA).stdout.split())
    LIMITS.write_text(f"{major}:{minor} {STORAGE_BYTES}\n")
    try:
        yield
    finally:
        LIMITS.write_text(f"{major}:{minor} 0\n")


def busy_vm(cluster, name, **keys):
    vm = Vm(cluster, name, memory_mib=256, area=AREA, max_throttle_percent=20, **keys).define()
    guest = vm.guest()
    guest.fill(16)
    assert guest.ask(f"dirty {DIRTY_MB}") == ["ok"]
    return vm, guest


def events_of(cluster, vm, type_):
    lines = cluster.vmferry("--json", "events").stdout.splitlines()
    return [e for e in map(json.loads, lines) if e.get("vm") == vm.name and e["type"] == type_]


def other_node(cluster, vm):
    source = cluster.node_of(vm.name)
    return source, "n2" if source != "n2" else "n3"


def test_guest_too_fast_is_forced(cluster):
    vm, guest = busy_vm(cluster, "rushed")
    source, target = other_node(cluster, vm)
    before, boot = guest.counter()
    checksum = guest.sum()
    with slow_storage(cluster):
        cluster.vmferry("migrate", vm.name, "--to", target)
    after, boot_after = guest.counter()
    assert boot_after == boot and after > before
    assert guest.sum() == checksum, "the guest's memory changed"
    assert cluster.qemus(vm.name) == [target]
    last = cluster.show(vm.name)["last_move"]
    forced = events_of(cluster, vm, "move.forced")
    assert len(forced) == 1, forced
    assert "MB/s" in forced[0]["message"] and "expected blackout" in forced[0]["message"], forced
    assert forced[0]["details"]["expected_blackout_ms"] == last["expected_blackout_ms"]
    assert last["forced"] and last["throttle_percent"] == 20, last
    assert last["from"] == source and FORECAST <= set(last), last
    print(f"  {forced[0]['message']}")
    print(f"  {events_of(cluster, vm, 'move.done')[0]['message']}, {last['passes']} passes, "
          f"{last['total_ms'] / 1000:.1f} s")
    guest.close()
    vm.remove()


def speed(guest, seconds=2.0):
    """How much CPU time the guest gets: its ticks (1 ms) a second."""
    begin = guest.counter()[0]
    time.sleep(seconds)
    return (guest.counter()[0] - begin) / seconds


def held(cluster):
    """Whether Pacemaker is still kept from a VM."""
    return "vmferry-hold-" in cluster.on("n1", "cibadmin", "--query").stdout


def test_guest_too_fast_stays_where_it_is(cluster):
    vm, guest = busy_vm(cluster, "settled", convergence="abort")
    source, target = other_node(cluster, vm)
    _, boot = guest.counter()
    checksum = guest.sum()
    pid = cluster.show(vm.name)["pid"]
    before = speed(guest)
    with slow_storage(cluster):
        refused = cluster.vmferry("migrate", vm.name, "--to", target, check=False)
        assert refused.returncode != 0
        for word in ("MB/s", '"force"', "max_blackout_ms", "quieter"):
            assert word in refused.stderr, refused.stderr
        print(f"  {refused.stderr.strip()}")
        wait_for("the guest to be settled", lambda: cluster.node_of(vm.name) == source, 30)
        wait_for("Pacemaker to be let go", lambda: not held(cluster), 30)
        after = speed(guest)
    assert guest.counter()[1] == boot
    assert guest.sum() == checksum
    shown = cluster.show(vm.name)
    assert (shown["node"], shown["pid"]) == (source, pid), "the guest was restarted"
    assert after > before * 0.6, f"{before:.0f} ticks/s before, {after:.0f} afterwards"
    assert events_of(cluster, vm, "move.given-up"), "nothing was told"
    assert not events_of(cluster, vm, "move.forced")
    guest.ask("dirty 0")
    cluster.vmferry("migrate", vm.name, "--to", target)
    assert cluster.qemus(vm.name) == [target]
    assert guest.counter()[1] == boot and guest.sum() == checksum
    guest.close()
    vm.remove()


def test_save_is_always_forced(cluster):
    vm, guest = busy_vm(cluster, "parked", convergence="abort")
    _, boot = guest.counter()
    checksum = guest.sum()
    guest.close()
    with slow_storage(cluster):
        cluster.vmferry("stop", vm.name, "--save")
    assert cluster.show(vm.name)["state"] == "saved"
    assert events_of(cluster, vm, "move.forced") and not events_of(cluster, vm, "move.given-up")
    cluster.vmferry("start", vm.name)
    guest = vm.guest()
    assert guest.counter()[1] == boot and guest.sum() == checksum
    guest.close()
    vm.remove()


def test_forecast_is_told(cluster):
    vm = Vm(cluster, "augur").define()
    guest = vm.guest()
    guest.fill(64)
    learnt = []
    for _ in range(2):
        _, target = other_node(cluster, vm)
        cluster.vmferry("migrate", vm.name, "--to", target)
        shown = cluster.show(vm.name)["last_move"]
        learnt.append(shown["overhead"]["moves"])
        job = next(j for j in cluster.json("jobs") if j["kind"] == "migrate" and j["vm"] == "augur")
        pause = [e for e in events_of(cluster, vm, "move.phase")
                 if e["details"]["phase"] == "pause"][-1]
        done = events_of(cluster, vm, "move.done")[-1]
        for said in (job, pause["details"], done["details"], shown):
            assert said["expected_blackout_ms"] == shown["expected_blackout_ms"], said
            assert said["expected_blackout_margin_ms"] > 0, said
        assert "expected" in pause["message"] and "expected" in done["message"]
        print(f"  {done['message']}")
    assert learnt[1] == learnt[0] + 1, f"what was learnt did not move along: {learnt}"
    assert not shown["forced"] and shown["throttle_percent"] == 0
    guest.close()
    vm.remove()
