# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest runs while its pages follow: what may end meanwhile, and the eager way."""

from cluster import Vm, wait_for

KILL = "for pid in $(pidof {0}); do kill -9 $pid; done"


def loading_vm(cluster, name, to, fill=1024, **overrides):
    """A VM that runs on TO, having just arrived; most of its pages are still to come."""
    vm = Vm(cluster, name, memory_mib=2048, **overrides).define()
    guest = vm.guest()
    guest.fill(fill)
    before, checksum = guest.counter(), guest.sum()
    if cluster.node_of(name) == to:
        cluster.vmferry("migrate", name)
    cluster.vmferry("migrate", name, "--to", to)
    return vm, guest, before, checksum


def memory_is_whole(cluster, vm, guest, before, checksum):
    counter, boot = guest.counter()  # the same TCP connection
    assert boot == before[1], "the guest was booted anew"
    assert counter > before[0]
    assert guest.sum() == checksum, "the guest's memory changed"
    wait_for("the record to allow a save", lambda: cluster.show(vm.name)["record_state"] ==
             "running" and not cluster.show(vm.name)["loading"], 60)
    guest.close()


def test_pager_killed(cluster):
    vm, *memory = loading_vm(cluster, "paged", "n2")
    loading = cluster.show("paged")["loading"]
    pid = cluster.show("paged")["pid"]
    killed = 0
    while cluster.show("paged")["loading"] and killed < 5:
        if cluster.on("n2", "pidof", "vmferry-pager", check=False).returncode == 0:
            cluster.on("n2", "sh", "-c", KILL.format("vmferry-pager"))
            killed += 1
    assert loading and killed, "the load was over before its pager could be killed"
    memory_is_whole(cluster, vm, *memory)
    assert cluster.show("paged")["pid"] == pid
    print(f"  {killed} pagers killed, the guest only waited")
    vm.remove()


def test_agent_killed_while_loading(cluster):
    vm, *memory = loading_vm(cluster, "paged", "n2")
    pid = cluster.show("paged")["pid"]
    cluster.on("n2", "sh", "-c", KILL.format("vmferryd"))
    wait_for("the VM to be adopted", lambda: cluster.node_of("paged") == "n2", 30)
    memory_is_whole(cluster, vm, *memory)
    assert cluster.show("paged")["pid"] == pid
    vm.remove()


def test_save_waits_for_the_load(cluster):
    vm, guest, before, checksum = loading_vm(cluster, "paged", "n2")
    cluster.vmferry("stop", "paged", "--save")
    assert cluster.show("paged")["state"] == "saved"
    cluster.vmferry("start", "paged")
    guest.close()
    memory_is_whole(cluster, vm, vm.guest(), before, checksum)
    vm.remove()


def test_eager(cluster):
    vm, *memory = loading_vm(cluster, "eager", "n2", fill=128, restore="eager")
    last = cluster.show("eager")["last_move"]
    assert last["mode"] == "eager", last
    assert not cluster.show("eager")["loading"]
    memory_is_whole(cluster, vm, *memory)
    vm.remove()
