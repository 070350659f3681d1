# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest runs while its pages follow: what may end meanwhile, and the eager way."""

from cluster import Vm, wait_for

KILL = "for pid in $(pidof {0}); do kill -9 $pid; done"


def loading_vm(cluster, name):
    """A VM that has just arrived: its guest, and most of its pages are still to come."""
    vm = Vm(cluster, name, memory_mib=2048).define()
    guest = vm.guest()
    guest.fill(1024)
    before, checksum = guest.counter(), guest.sum()
    for _ in range(5):  # a fast storage may be through before anybody looks
        cluster.vmferry("migrate", name)
        shown = cluster.show(name)
        if shown["loading"]:
            return vm, shown, (guest, before, checksum)
    raise AssertionError("no load lasted long enough to be seen")


def memory_is_whole(cluster, vm, guest, before, checksum):
    counter, boot = guest.counter()  # the same TCP connection
    assert boot == before[1], "the guest was booted anew"
    assert counter > before[0]
    assert guest.sum() == checksum, "the guest's memory changed"
    wait_for("the record to allow a save", lambda: cluster.show(vm.name)["record_state"] ==
             "running" and not cluster.show(vm.name)["loading"], 60)
    guest.close()


def test_pager_killed(cluster):
    vm, shown, memory = loading_vm(cluster, "paged")
    killed = 0
    while cluster.show("paged")["loading"] and killed < 5:
        if cluster.on(shown["node"], "pidof", "vmferry-pager", check=False).returncode == 0:
            cluster.on(shown["node"], "sh", "-c", KILL.format("vmferry-pager"))
            killed += 1
    memory_is_whole(cluster, vm, *memory)
    assert cluster.show("paged")["pid"] == shown["pid"]
    print(f"  {killed} pagers killed, the guest only waited")
    vm.remove()


def test_agent_killed_while_loading(cluster):
    vm, shown, memory = loading_vm(cluster, "paged")
    cluster.on(shown["node"], "sh", "-c", KILL.format("vmferryd"))
    wait_for("the VM to be adopted", lambda: cluster.node_of("paged") == shown["node"], 30)
    memory_is_whole(cluster, vm, *memory)
    assert cluster.show("paged")["pid"] == shown["pid"]
    vm.remove()


def test_save_waits_for_the_load(cluster):
    vm, _, (guest, before, checksum) = loading_vm(cluster, "paged")
    guest.close()
    cluster.vmferry("stop", "paged", "--save")
    assert cluster.show("paged")["state"] == "saved"
    cluster.vmferry("start", "paged")
    memory_is_whole(cluster, vm, vm.guest(), before, checksum)
    vm.remove()


def test_eager(cluster):
    vm = Vm(cluster, "eager", restore="eager").define()
    guest = vm.guest()
    guest.fill(128)
    before, checksum = guest.counter(), guest.sum()
    cluster.vmferry("migrate", "eager")
    shown = cluster.show("eager")
    assert shown["last_move"]["mode"] == "eager" and not shown["loading"], shown
    memory_is_whole(cluster, vm, guest, before, checksum)
    vm.remove()
