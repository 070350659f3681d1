# SPDX-License-Identifier: GPL-2.0-or-later
"""Two nodes (two_node, and with it wait_for_all; docs/CLUSTER.md): both halves have quorum, and fencing
decides. Who lost boots alone, and does nothing before it has seen the other one."""

import time

from cases_doctor import finds, is_sound, property_set
from cases_faults import FILL_MIB, Memory, lost_with_its_qemu, settled
from cluster import NODES, wait_for
from faults import Injector, Oracle, watched_vm
from phases import begin_move

ALONE_S = 12


def await_save(cluster, vm):
    wait_for("the save to begin", lambda: cluster.show(vm).get("record_state") == "saving", 30, 0.02)


def fence_race(cluster, vm, oracle, moving):
    """Cuts the only link, in the middle of a move where MOVING. Who won, and whether the guest is the same."""
    cluster.wait_online()
    source = wait_for("the VM to be settled", lambda: settled(cluster, vm.name), 90, 0.3)
    before, cut_at = Memory(vm), time.time()
    move = begin_move(vm, next(node for node in NODES if node != source)) if moving else None
    if moving:
        await_save(cluster, vm.name)
    cluster.lab("cut", "n2")

    def loser():
        off = [line["node"] for line in oracle.told(cut_at) if line["what"] == "node-off"]
        return off[0] if off else None

    lost = wait_for("one node to fence the other", loser, 60, 0.2)
    won = next(node for node in NODES if node != lost)
    machines = Injector(cluster).machines
    end = time.monotonic() + ALONE_S
    while time.monotonic() < end:
        assert machines.find(lost, "qemu") == [], f"{lost}, alone, has started something"
        time.sleep(0.1)
    off = [line["node"] for line in oracle.told(cut_at) if line["what"] == "node-off"]
    assert off == [lost], f"{off} lost their power: {lost} must not fence before it has seen {won}"
    wait_for(f"the guest on {won}", lambda: machines.find(won, "qemu", vm.name), 60, 0.2)
    cluster.lab("heal", "n2")
    cluster.wait_online(timeout=120)
    if move:
        move.kill()
        move.wait()
    assert wait_for("the guest on exactly one node", lambda: settled(cluster, vm.name), 120, 0.3) == won
    after = Memory(vm)
    oracle.check()
    if after.boot != before.boot:
        assert lost == source and lost_with_its_qemu(oracle.told(), cut_at), "the guest was booted anew"
    else:
        assert after.sum == before.sum
    print(f"  {source} had the VM{' and was moving it' if moving else ''}; {won} fenced {lost}: "
          f"{'memory kept' if after.boot == before.boot else 'cold boot'}", flush=True)


def test_two_nodes_doctor(cluster):
    finds(cluster, "two-nodes-no-delay", level="warning")
    with property_set(cluster, "priority-fencing-delay", "15s", "0s"):
        is_sound(cluster)


def test_two_nodes(cluster):
    vm = watched_vm(cluster, "pair").define()
    oracle = Oracle(cluster, vm)
    for node, moving in (("n1", False), ("n2", True), ("n1", True)):
        if settled(cluster, vm.name) != node:
            cluster.vmferry("migrate", vm.name, "--to", node)
        guest = vm.guest()
        guest.fill(FILL_MIB)
        guest.close()
        fence_race(cluster, vm, oracle, moving)
    print(f"  {oracle.close()}")
    vm.remove()
