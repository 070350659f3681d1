# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes with another QEMU: Debian 12's own and the one of its backports, and one without userfaultfd."""

import json
import os
from contextlib import contextmanager

from cases_kills import kill_pagers
from cluster import NODES, TOP, CommandFailed, Skipped, Vm, wait_for
from faults import watched_vm

CONFIG = "/etc/vmferry/vmferryd.conf"
# Sets or removes the key `qemu`, then ends vmferryd, which is started again.
USE = "sed -i '/^qemu *=/d' {0} && {1} kill $(pgrep -o -x vmferryd)"
ADD = "sed -i '/^\\[agent\\]/a qemu = {0}' {1} && "


def versions_now(cluster):
    """Of all nodes whose vmferryd answers."""
    try:
        return {node["name"]: node.get("qemu_version") for node in cluster.json("node")}
    except (CommandFailed, json.JSONDecodeError):
        return {}


def set_qemu(cluster, node, path):
    add = ADD.format(path, CONFIG) if path else ""
    cluster.on(node, "sh", "-c", USE.format(CONFIG, add))


@contextmanager
def nodes_with(cluster, path, nodes):
    """The nodes run PATH as their QEMU meanwhile."""
    if os.environ.get("VMFERRY_QEMU"):
        raise Skipped("VMFERRY_QEMU is set: all nodes have that one")
    versions = versions_now(cluster)
    try:
        for node in nodes:
            set_qemu(cluster, node, path)
        cluster.wait_online()
        yield versions
    finally:
        for node in nodes:
            set_qemu(cluster, node, None)
        wait_for("the nodes' own QEMU again", lambda: versions == versions_now(cluster), 60, 0.5)


def backports():
    path = os.environ.get("VMFERRY_QEMU_BACKPORTS")
    if not path:
        raise Skipped(os.environ.get("VMFERRY_QEMU_BACKPORTS_WHY", "no QEMU of the backports"))
    return path


def wait_version(cluster, node, other_than):
    def another():
        version = versions_now(cluster).get(node)
        return version if version != other_than else None

    return wait_for(f"{node} to have another QEMU", another, 60, 0.5)


def moves(cluster, vm, route, mode):
    guest = vm.guest()
    guest.fill(64)
    counter, boot = guest.counter()
    checksum = guest.sum()
    for target in route:
        if cluster.node_of(vm.name) == target:
            continue
        cluster.vmferry("migrate", vm.name, "--to", target)
        shown = cluster.show(vm.name)
        assert shown["node"] == target and shown["last_move"]["mode"] == mode, shown
        now, boot_now = guest.counter()
        assert boot_now == boot and now > counter, f"booted anew on {target}"
        assert guest.sum() == checksum, f"the guest's memory changed on {target}"
        counter = now
        wait_for("the load to be over", lambda: not cluster.show(vm.name)["loading"], 60)
    guest.close()


def test_moves_between_qemu_versions(cluster):
    path = backports()
    with nodes_with(cluster, path, ("n2", "n3")) as versions:
        newer = wait_version(cluster, "n2", versions["n2"])
        wait_version(cluster, "n3", versions["n3"])
        for mode in ("lazy", "eager"):
            # A CPU that both have: `max` is what each QEMU can. With disks: each has its own rules for them.
            vm = watched_vm(cluster, f"versions-{mode}", restore=mode, cpu="qemu64").define()
            moves(cluster, vm, ("n1", "n2", "n3", "n1"), mode)
            print(f"  {mode}: {versions['n1']} -> {newer} -> {newer} -> {versions['n1']}")
            vm.remove()


def test_pagers_killed_with_qemu_of_backports(cluster):
    path = backports()
    with nodes_with(cluster, path, NODES) as versions:
        for node in NODES:
            wait_version(cluster, node, versions[node])
        vm = Vm(cluster, "newer", memory_mib=1024, machine="pc-q35-10.0").define()
        kill_pagers(cluster, vm, int(os.environ.get("VMFERRY_TEST_KILLS", "3")))
        vm.remove()


def test_eager_where_userfaultfd_is_denied(cluster):
    """The node itself could, but its QEMU must not: it finds out when it is asked."""
    vm = Vm(cluster, "denied").define()
    source = cluster.node_of("denied")
    target = next(node for node in NODES if node != source)
    with nodes_with(cluster, TOP / "tests/lib/without-userfaultfd", (target,)):
        since = cluster.last_event()
        moves(cluster, vm, (target,), "eager")
        told = [message for kind, message in cluster.events_of("denied", since)
                if kind == "vm.restore-eager"]
        assert len(told) == 1 and target in told[0] and "userfaultfd" in told[0], told
        print(f"  {told[0]}")
        moves(cluster, vm, (source,), "lazy")
    vm.remove()
