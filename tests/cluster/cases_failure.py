# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens by itself: a node without power, a QEMU that dies, a network that is cut."""

import time

from cluster import Vm, wait_for


def boot_of(vm, timeout=60):
    guest = vm.guest(timeout)
    boot = guest.counter()[1]
    guest.close()
    return boot


def test_power_cut(cluster):
    vm = Vm(cluster, "survivor").define()
    boot = boot_of(vm)
    lost = cluster.node_of("survivor")
    cut = time.monotonic()
    cluster.lab("kill", lost)
    node = wait_for("the VM on another node",
                    lambda: cluster.node_of("survivor") not in (None, lost) and
                    cluster.node_of("survivor"), 90)
    print(f"  power cut of {lost}: up again on {node} after {time.monotonic() - cut:.1f} s")
    assert boot_of(vm) != boot
    cluster.wait_online()
    vm.remove()


def test_killed_qemu_restarts_within_2_s(cluster):
    vm = Vm(cluster, "phoenix").define()
    boot = boot_of(vm)
    node = cluster.node_of("phoenix")
    pid = cluster.show("phoenix")["pid"]
    killed = time.monotonic()
    cluster.on(node, "kill", "-9", str(pid))

    def new_pid():
        shown = cluster.show("phoenix")
        return shown["state"] == "running" and shown["pid"] not in (0, pid)

    wait_for("a new QEMU", new_pid, 20, 0.02)
    seconds = time.monotonic() - killed
    print(f"  kill -9 of QEMU: running again on {node} after {seconds:.2f} s")
    assert cluster.node_of("phoenix") == node
    assert seconds <= 2.0, seconds
    assert boot_of(vm) != boot
    vm.remove()


def booted_anew(vm, boot):
    try:
        return boot_of(vm) != boot
    except (OSError, AssertionError):  # it answered once more, and went down in the middle
        return False


def test_reboot_inside_is_no_failure(cluster):
    vm = Vm(cluster, "rebooter").define()
    boot = boot_of(vm)
    before = cluster.show("rebooter")
    guest = vm.guest()
    guest.send("reboot")
    guest.close()
    wait_for("the guest to boot anew", lambda: booted_anew(vm, boot), 60)
    after = cluster.show("rebooter")
    assert (after["node"], after["pid"], after["epoch"]) == \
        (before["node"], before["pid"], before["epoch"]), (before, after)
    vm.remove()
