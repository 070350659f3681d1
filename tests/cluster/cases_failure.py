# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens by itself: a node without power, a QEMU that dies, a network that is cut."""

import json
import os
import time

from cluster import NODES, Vm, wait_for
from faults import Injector, watched_vm


def boot_of(vm, patience=60):
    guest = vm.guest()
    guest.socket.settimeout(patience)
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


def listed_by(cluster, node):
    """The names of the VMs; None where it does not answer or says that it has not joined."""
    url = os.environ["VMFERRY_URL"].split(",")[NODES.index(node)]
    answer = cluster.vmferry("--json", "--url", url, "list", check=False)
    if answer.returncode == 0:
        return [vm["name"] for vm in json.loads(answer.stdout)]
    code = json.loads(answer.stdout)["error"]["code"]
    assert code in ("unreachable", "unavailable"), answer
    return None


def test_node_that_comes_back_knows_the_vms_or_says_so(cluster):
    """The one that is asked first; a list without them would be read as their loss."""
    def where():
        shown = cluster.show("known")
        return shown["node"] or shown["state"]

    vm = Vm(cluster, "known").define()
    if cluster.node_of("known") == NODES[0]:
        cluster.vmferry("migrate", "known", "--to", NODES[1])
    node = cluster.node_of("known")
    cluster.lab("kill", NODES[0])
    silent = 0
    end = time.monotonic() + 90
    while (names := listed_by(cluster, NODES[0])) is None:
        assert (found := where()) in (node, "unknown"), (found, cluster.json("node"), cluster.show("known"))
        assert time.monotonic() < end, f"{NODES[0]} did not come back"
        silent += 1
    assert silent > 0 and names == ["known"], names
    while (found := where()) != node:
        assert found == "unknown" and time.monotonic() < end, found
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
        return shown.get("state") == "running" and shown["pid"] not in (0, pid)

    wait_for("a new QEMU", new_pid, 20, 0.02)
    seconds = time.monotonic() - killed
    print(f"  kill -9 of QEMU: running again on {node} after {seconds:.2f} s")
    assert cluster.node_of("phoenix") == node
    assert seconds <= 2.0, seconds
    assert boot_of(vm) != boot
    vm.remove()


def booted_anew(vm, boot):
    """A guest that goes down in the middle of an answer, or before it, closes no connection."""
    try:
        return boot_of(vm, patience=2) != boot
    except (OSError, AssertionError):
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


def test_disk_without_space(cluster):
    """Thin storage is full: the guest waits, Pacemaker lets it, and it goes on when there is room."""
    vm = watched_vm(cluster, "crowded").define()
    boot, since = boot_of(vm), cluster.last_event()
    node = cluster.node_of("crowded")
    injector = Injector(cluster)

    def told(kind):
        return kind in (seen for seen, _ in cluster.events_of("crowded", since))

    injector.storage(node, (ord("n"), 2, 8, 1))
    try:
        wait_for("vm.disk-full", lambda: told("vm.disk-full"), 60)
        assert "no space" in cluster.show("crowded")["error"]
        tried = len(injector.log_of(node))
        time.sleep(12)  # two more tries, and a monitor of Pacemaker
        assert cluster.node_of("crowded") == node and not told("vm.disk-works")
        assert not any("disk-full" in line for line in injector.log_of(node)[tried:]), "told again"
    finally:
        injector.storage(node, (0, 0, 0, 0))
    wait_for("vm.disk-works", lambda: told("vm.disk-works"), 60)
    assert cluster.show("crowded")["error"] is None
    guest = vm.guest()
    records = int(guest.ask("journal")[1])
    assert guest.counter()[1] == boot and cluster.node_of("crowded") == node
    wait_for("more records on the disk", lambda: int(guest.ask("journal")[1]) > records, 30)
    assert guest.ask("diskcheck")[0] == "diskcheck"
    guest.close()
    vm.remove()
