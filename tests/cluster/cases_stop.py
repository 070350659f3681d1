# SPDX-License-Identifier: GPL-2.0-or-later
"""Stop and start with on_stop=save, as Pacemaker's own tools ask for it."""

from cluster import Vm, wait_for


def remember(vm):
    guest = vm.guest()
    guest.fill(64)
    counter, boot = guest.counter()
    checksum = guest.sum()
    guest.close()
    return counter, boot, checksum


def compare(vm, remembered):
    counter, boot, checksum = remembered
    guest = vm.guest()
    counter_after, boot_after = guest.counter()
    assert boot_after == boot, "the guest was booted anew"
    assert counter_after >= counter
    assert guest.sum() == checksum
    guest.close()


def test_disable_and_enable_keep_memory(cluster):
    vm = Vm(cluster, "saved").define()
    remembered = remember(vm)
    cluster.on("n1", "crm_resource", "--resource", "saved", "--meta", "--set-parameter",
               "target-role", "--parameter-value", "Stopped")
    wait_for("the VM to be saved", lambda: cluster.show("saved")["state"] == "saved", 60)
    assert cluster.qemus("saved") == []
    cluster.on("n1", "crm_resource", "--resource", "saved", "--meta", "--set-parameter",
               "target-role", "--parameter-value", "Started")
    wait_for("the VM to run again", lambda: cluster.node_of("saved"), 60)
    compare(vm, remembered)
    vm.remove()


def evacuate(cluster, vm, source):
    """Puts the VM's node into standby until the VM runs on another one."""
    cluster.vmferry("standby", source)
    try:
        wait_for("the VM on another node",
                 lambda: cluster.node_of(vm.name) not in (None, source), 60)
    finally:
        cluster.vmferry("unstandby", source)


def test_standby_moves(cluster):
    vm = Vm(cluster, "evacuee").define()
    remembered = remember(vm)
    source = cluster.node_of("evacuee")
    evacuate(cluster, vm, source)
    compare(vm, remembered)
    vm.remove()


def test_standby_without_migration_saves(cluster):
    vm = Vm(cluster, "stubborn").define()
    remembered = remember(vm)
    source = cluster.node_of("stubborn")
    cluster.on("n1", "crm_resource", "--resource", "stubborn", "--meta", "--set-parameter",
               "allow-migrate", "--parameter-value", "false")
    evacuate(cluster, vm, source)
    compare(vm, remembered)
    vm.remove()


def test_standby_where_no_node_can_take_it(cluster):
    """Every rehearsal says no: the memory is saved and waits until a node can."""
    everywhere = ("n1", "n2", "n3")
    for node in everywhere:
        cluster.on(node, "ip", "link", "add", "br1", "type", "bridge")
    vm = Vm(cluster, "stuck", nics=[{"bridge": "br0"}, {"bridge": "br1"}]).define()
    remembered = remember(vm)
    source = cluster.node_of("stuck")
    for node in everywhere:
        if node != source:
            cluster.on(node, "ip", "link", "del", "br1")
    refused = cluster.vmferry("migrate", "stuck", check=False)
    assert refused.returncode == 1 and "br1" in refused.stderr, refused
    print(f"  {refused.stderr.strip().splitlines()[-1]}")
    assert cluster.node_of("stuck") == source
    cluster.vmferry("standby", source)
    try:
        wait_for("the memory to be saved", lambda: cluster.qemus("stuck") == [] and
                 cluster.show("stuck")["record_state"] == "sealed", 60)
        for node in everywhere:
            if node != source:
                cluster.on(node, "ip", "link", "add", "br1", "type", "bridge")
        cluster.vmferry("start", "stuck")
        assert cluster.node_of("stuck") not in (None, source)
    finally:
        cluster.vmferry("unstandby", source)
        for node in everywhere:
            cluster.on(node, "ip", "link", "set", "br1", "up")
    compare(vm, remembered)
    vm.remove()
    for node in everywhere:
        cluster.on(node, "ip", "link", "del", "br1")


def test_stop_modes(cluster):
    vm = Vm(cluster, "modes").define()
    for mode, state in (("--save", "saved"), ("--shutdown", "stopped"), ("--poweroff", "stopped")):
        vm.guest().close()
        cluster.vmferry("stop", "modes", mode)
        wait_for(f"state {state} after stop {mode}",
                 lambda: cluster.show("modes")["state"] == state, 30)
        assert cluster.qemus("modes") == []
        cluster.vmferry("start", "modes")
    vm.remove()


def test_changed_definition_never_restarts(cluster):
    vm = Vm(cluster, "changing").define()
    _, boot, _ = remember(vm)
    pid = cluster.show("changing")["pid"]
    vm.definition["memory_mib"] = 640
    cluster.vmferry("define", "--update", vm.file())
    wait_for("the change to be pending",
             lambda: "memory_mib" in (cluster.show("changing").get("pending") or ""), 30)
    assert vm.guest().counter()[1] == boot
    assert cluster.show("changing")["pid"] == pid
    cluster.vmferry("stop", "changing", "--save")  # the memory fits the old definition only
    cluster.vmferry("start", "changing")
    assert vm.guest().counter()[1] == boot
    assert "memory_mib" in cluster.show("changing")["pending"]
    cluster.vmferry("stop", "changing", "--shutdown")
    cluster.vmferry("start", "changing")
    assert vm.guest().counter()[1] != boot
    assert not cluster.show("changing")["pending"]
    vm.remove()
