# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU has its own user, no privileges, and no descriptor that it does not need."""

import re

from cases_lazy import loading_vm, memory_is_whole
from cases_qemu import CONFIG
from cluster import NODES, Vm, wait_for
from processes import Machines, status_of, targets_of

QEMU_USER = 47791
ONES_OWN = re.compile(r"anon_inode:\[(eventfd|eventpoll|signalfd|userfaultfd)\]|anon_inode:kvm-.*|"
                      r"/dev/(null|urandom|kvm|net/tun)")
SET_USER = "sed -i '/^qemu_user *=/d; {0}' {1} && kill $(pgrep -o -x vmferryd)"


def assert_confined(cluster, vm, disks=()):
    """The VM's QEMU as /proc shows it."""
    node = cluster.node_of(vm)
    pid, = Machines(cluster.name).find(node, "qemu", vm)
    status = status_of(pid)
    for ids in ("Uid", "Gid"):
        assert status[ids].split() == [str(QEMU_USER)] * 4, status
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities], 16) == 0, status
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
    assert_descriptors(targets_of(pid), unix_sockets(pid), vm, disks)


def unix_sockets(pid):
    """The paths of the node's unix sockets by inode; "" for those without one."""
    with open(f"/proc/{pid}/net/unix", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return {row[6]: row[7] if len(row) > 7 else "" for row in rows}


def assert_descriptors(targets, sockets, vm, disks):
    directory = f"/run/vmferry/{vm}/"
    logs = {directory + "qemu.log", directory + "console.log"}
    for target in targets:
        inode = re.fullmatch(r"socket:\[(\d+)\]", target)
        if inode:
            path = sockets.get(inode[1])
            assert path is not None, f"{target} is no unix socket of the node"
            assert path == "" or path.startswith(directory), f"{path} is not the VM's"
        else:
            assert ONES_OWN.fullmatch(target) or target in logs or target in disks, target
    assert set(disks) <= set(targets), (disks, targets)


def assert_kept_out(cluster, node, vm):
    """What QEMU's user may do itself, beyond what it was given."""
    def refused(*argv):
        done = cluster.on(node, "setpriv", "--reuid", str(QEMU_USER), "--regid", str(QEMU_USER),
                          "--clear-groups", *argv, check=False)
        assert done.returncode != 0 and "ermission denied" in done.stderr, (argv, done)

    refused("ls", "/run/vmferry")
    refused("cat", f"/run/vmferry/{vm}/process.json")
    refused("cat", "/etc/vmferry/token")
    refused("cat", "/srv/lun/lun0")
    for path in ("api.sock", "ra.sock", f"{vm}/qmp.sock", f"{vm}/console.sock"):
        refused("/usr/bin/python3", "-c", "import socket, sys; "
                "socket.socket(socket.AF_UNIX).connect(sys.argv[1])", f"/run/vmferry/{path}")


def test_qemu_is_confined(cluster):
    """On the node that starts it, and on the one that it moves to."""
    vm = Vm(cluster, "confined", disks=[{"type": "block", "path": "/srv/lun/lun0"}]).define()
    guest = vm.guest()
    guest.fill(64)
    before, checksum = guest.counter(), guest.sum()
    assert_confined(cluster, "confined", ["/srv/lun/lun0"])
    assert_kept_out(cluster, cluster.node_of("confined"), "confined")
    target = next(node for node in NODES if node != cluster.node_of("confined"))
    cluster.vmferry("migrate", "confined", "--to", target)
    assert_confined(cluster, "confined", ["/srv/lun/lun0"])
    memory_is_whole(cluster, vm, guest, before, checksum)
    vm.remove()


def test_qemu_is_confined_while_loading(cluster):
    vm, _, memory = loading_vm(cluster, "loading")
    assert_confined(cluster, "loading")
    memory_is_whole(cluster, vm, *memory)
    assert_confined(cluster, "loading")
    vm.remove()


def set_user(cluster, node, user):
    """Sets or removes the key `qemu_user`; vmferryd, ended, is started again."""
    add = f"/^\\[agent\\]/a qemu_user = {user}" if user else ""
    cluster.on(node, "sh", "-c", SET_USER.format(add, CONFIG))


def qemu_user(cluster, vm):
    pid, = Machines(cluster.name).find(cluster.node_of(vm), "qemu", vm)
    return int(status_of(pid)["Uid"].split()[0])


def restore(cluster, name):
    cluster.vmferry("stop", name, "--save")
    cluster.vmferry("start", name)


def test_qemu_user_changes(cluster):
    """A QEMU that runs keeps its user, and its memory can be saved; the next one has the new user."""
    vm = Vm(cluster, "changes", memory_mib=256).define()
    guest = vm.guest()
    before, checksum = guest.counter(), guest.sum()
    try:
        for user, number in (("root", 0), (None, QEMU_USER)):
            running = qemu_user(cluster, "changes")
            for node in NODES:
                set_user(cluster, node, user)
            cluster.wait_online()
            wait_for("the VM to be adopted",
                     lambda: cluster.show("changes").get("state") == "running", 30)
            assert qemu_user(cluster, "changes") == running
            restore(cluster, "changes")
            assert qemu_user(cluster, "changes") == number
    finally:
        for node in NODES:
            set_user(cluster, node, None)
        cluster.wait_online()
    memory_is_whole(cluster, vm, guest, before, checksum)
    vm.remove()
