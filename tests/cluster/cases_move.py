# SPDX-License-Identifier: GPL-2.0-or-later
"""Planned moves: memory, connection and constraints, on a file and on a block device."""

import os

from cluster import Vm

LAST_MOVE_FIELDS = {"from", "to", "mode", "blackout_ms", "total_ms", "bytes_written", "passes"}
MOVES = int(os.environ.get("VMFERRY_TEST_MOVES", "10"))
FILL_MIB = int(os.environ.get("VMFERRY_TEST_FILL_MIB", "64"))


def move_and_compare(cluster, vm, guest, to):
    before, boot = guest.counter()
    checksum = guest.sum()
    cluster.vmferry("migrate", vm.name, "--to", to)
    after, boot_after = guest.counter()  # the same TCP connection
    assert boot_after == boot, "the guest was booted anew"
    assert after > before, f"the counter went from {before} to {after}"
    assert guest.sum() == checksum, "the guest's memory changed"
    assert cluster.qemus(vm.name) == [to], cluster.qemus(vm.name)
    assert "vmferry-move" not in cluster.cib()


def move_big(cluster, area):
    vm = Vm(cluster, "big", memory_mib=2048, area=area).define()
    guest = vm.guest()
    guest.fill(1024)
    source = cluster.node_of("big")
    target = "n2" if source != "n2" else "n3"
    move_and_compare(cluster, vm, guest, target)
    last = cluster.show("big")["last_move"]
    assert LAST_MOVE_FIELDS <= set(last), last
    assert (last["from"], last["to"]) == (source, target), last
    print(f"  2 GiB with 1 GiB of random data: blackout {last['blackout_ms']:.0f} ms "
          f"(pause {last['pause_ms']:.0f}, load {last['load_ms']:.0f}), "
          f"{last['bytes_written'] / 2**20:.0f} MiB written in {last['passes']} passes")
    guest.close()
    vm.remove()


def test_move_file(cluster):
    move_big(cluster, "/srv/shared/big.vmf")


def test_move_block_device(cluster):
    move_big(cluster, "/srv/lun/lun0")


def move_in_a_row(cluster, area):
    vm = Vm(cluster, "hopper", memory_mib=2 * FILL_MIB + 256, area=area).define()
    guest = vm.guest()
    guest.fill(FILL_MIB)
    for _ in range(MOVES):
        here = cluster.node_of("hopper")
        move_and_compare(cluster, vm, guest, "n2" if here != "n2" else "n1")
    print(f"  {MOVES} moves in a row of a guest with {FILL_MIB} MiB of random data, none lost")
    guest.close()
    vm.remove()


def test_moves_in_a_row(cluster):
    move_in_a_row(cluster, "/srv/shared/hopper.vmf")


def test_moves_in_a_row_block_device(cluster):
    move_in_a_row(cluster, "/srv/lun/lun1")


def test_move_without_a_target_named(cluster):
    vm = Vm(cluster, "free").define()
    guest = vm.guest()
    source = cluster.node_of("free")
    cluster.vmferry("migrate", "free")
    assert cluster.node_of("free") not in (None, source)
    guest.counter()
    guest.close()
    vm.remove()
