# SPDX-License-Identifier: GPL-2.0-or-later
"""A newer version of the packages, under a VM that runs and in the middle of a move."""
import time

import images
from cases_paths import begin_move
from vmcluster import LabVm, wait_for

FILL_MIB = 16
VERSION = ("dpkg-query", "-W", "-f", "${Version}", "vmferry-agent")


def upgrade(cluster, node, packages):
    """As an admin does it; what apt would fetch is here."""
    there = "/root/upgrade"
    cluster.on(node, "mkdir", "-p", there)
    for path in packages:
        cluster.put(node, path, f"{there}/{path.name}")
    cluster.on(node, "sh", "-c", f"DEBIAN_FRONTEND=noninteractive dpkg --install {there}/*.deb")


def test_upgrade(cluster):
    vm = LabVm(cluster, "upgraded").define()
    guest = vm.guest()
    guest.socket.settimeout(300)
    guest.fill(FILL_MIB)
    boot, total = guest.counter()[1], guest.sum()
    source = vm.node()
    target = cluster.other(source)
    old = cluster.on(source, *VERSION).stdout
    pid = cluster.show(vm.name)["pid"]

    packages = images.packages_in(images.debs(cluster.release, suffix="+1"))
    begin = time.monotonic()
    upgrade(cluster, source, packages)
    took = time.monotonic() - begin
    cluster.wait_online()
    new = cluster.on(source, *VERSION).stdout
    assert new != old
    assert guest.counter()[1] == boot, "the guest was booted anew"
    assert (vm.node(), cluster.show(vm.name)["pid"]) == (source, pid), "the upgrade touched the VM"
    print(f"  {source}: {old} -> {new} under a running VM, {took:.0f} s; QEMU {pid} runs on")

    move = begin_move(cluster, vm, target)
    upgrade(cluster, target, packages)
    out, _ = move.communicate(timeout=420)
    cluster.wait_online()
    node = wait_for("the VM to run", vm.node, 300, 1)
    print(f"  {target} upgraded while {vm.name} moved there: exit code {move.returncode}, it is on {node}; "
          f"{out.strip().splitlines()[-1:]}")
    assert guest.counter()[1] == boot and guest.sum() == total, "the guest lost its memory"

    cluster.vmferry("migrate", vm.name, "--to", cluster.other(node))
    assert guest.counter()[1] == boot and guest.sum() == total
    print(f"  and on to {vm.node()} between the new versions")
    guest.close()
    vm.remove()
