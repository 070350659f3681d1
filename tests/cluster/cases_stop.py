# SPDX-License-Identifier: GPL-2.0-or-later
"""Stop and start with on_stop=save, as Pacemaker's own tools ask for it; and stops of what is stuck,
which have to end in time all the same: a stop that fails has the whole node fenced."""

import subprocess
import time

from cluster import LAB, Skipped, Vm, wait_for


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


STOP_S = 40  # Pacemaker's timeout in what follows; the agent gets 29 s of it


def with_short_stop(cluster, vm):
    cluster.on("n1", "cibadmin", "--modify", "--scope", "resources", "--xml-text",
               f'<op id="{vm.name}-stop-0" timeout="{STOP_S}s"/>')
    return vm


def stop_by_pacemaker(cluster, vm):
    cluster.on("n1", "crm_resource", "--resource", vm.name, "--meta", "--set-parameter",
               "target-role", "--parameter-value", "Stopped")


def fencings(cluster):
    history = cluster.on("n1", "stonith_admin", "--history", "*", "--verbose", check=False).stdout
    return history.count("reboot")


def stops_in_time(cluster, vm, since, expected, fenced_before):
    """The VM's QEMU ends inside Pacemaker's timeout, nobody is fenced, and the log tells each step."""
    begun = time.monotonic()
    wait_for("the VM to be off", lambda: cluster.qemus(vm.name) == [] and
             cluster.node_of(vm.name) is None, STOP_S)
    kinds = [kind for kind, _ in cluster.events_of(vm.name, since)]
    steps = [kind for kind in kinds if kind in expected]
    assert steps == expected, kinds
    print(f"  off after {time.monotonic() - begun:.1f} of {STOP_S} s: {', '.join(expected)}")
    assert fencings(cluster) == fenced_before, "a node was fenced"
    failed = cluster.on("n1", "crm_mon", "-1", "--include=failures").stdout
    assert f"{vm.name}_stop" not in failed, failed


def test_stop_of_a_save_that_hangs(cluster):
    """The saver stands still as if its writes hung: the guest gets its part of the time to shut down."""
    vm = with_short_stop(cluster, Vm(cluster, "hangs").define())
    guest = vm.guest()
    guest.fill(256)
    guest.close()
    node, since, before = cluster.node_of("hangs"), cluster.last_event(), fencings(cluster)
    stopper = subprocess.Popen(
        [str(LAB), "--name", cluster.name, "exec", node, "sh", "-c",
         "for i in $(seq 6000); do pkill -STOP -x vmferry-saver && exit 0; sleep 0.005; done; exit 1"])
    stop_by_pacemaker(cluster, vm)
    assert stopper.wait(timeout=60) == 0, "there was no saver"
    stops_in_time(cluster, vm, since, ["vm.save-too-slow", "vm.shutdown", "vm.stopped"], before)
    vm.remove()


def test_stop_of_a_qemu_that_is_deaf(cluster):
    """QMP does not answer, neither to the save nor to its end."""
    vm = with_short_stop(cluster, Vm(cluster, "deaf").define())
    vm.guest().close()
    node, since, before = cluster.node_of("deaf"), cluster.last_event(), fencings(cluster)
    cluster.on(node, "kill", "-STOP", str(cluster.show("deaf")["pid"]))
    stop_by_pacemaker(cluster, vm)
    stops_in_time(cluster, vm, since, ["vm.save-too-slow", "vm.stop-forced"], before)
    vm.remove()


def stand_still_while_loading(cluster, vm):
    """The VM is saved and restored, and its pager stopped before it is through."""
    for _ in range(5):
        cluster.vmferry("stop", vm.name, "--save")
        cluster.vmferry("start", vm.name)
        cluster.on(cluster.node_of(vm.name), "pkill", "-STOP", "-x", "vmferry-pager", check=False)
        time.sleep(5)  # a pager that was not stopped is through by then
        if cluster.show(vm.name)["loading"]:
            return
    raise Skipped("each load was over before its pager could be stopped")


def test_stop_of_a_load_that_hangs(cluster):
    """The pager stands still: nothing can be saved, and the guest may wait for a page for ever."""
    vm = with_short_stop(cluster, Vm(cluster, "halfway", memory_mib=1024).define())
    guest = vm.guest()
    guest.fill(700)
    guest.close()
    stand_still_while_loading(cluster, vm)
    since, before = cluster.last_event(), fencings(cluster)
    stop_by_pacemaker(cluster, vm)
    stops_in_time(cluster, vm, since, ["vm.load-too-slow", "vm.shutdown"], before)
    vm.remove()


def test_stop_whose_record_hangs(cluster):
    """A write that may still come about when another node has the VM: that one has to be fenced."""
    vm = with_short_stop(cluster, Vm(cluster, "unwritten", on_stop="poweroff").define())
    vm.guest().close()
    node, since, before = cluster.node_of("unwritten"), cluster.last_event(), fencings(cluster)
    hang = subprocess.Popen(
        [str(LAB), "--name", cluster.name, "exec", node, "sh", "-c",
         "exec strace -f -qq -o /dev/null -e trace=pwrite64"
         " -e inject=pwrite64:delay_enter=120000000 -p $(pidof vmferryd)"])
    time.sleep(1)  # strace says nothing when it is there
    assert hang.poll() is None, "strace did not attach"
    stop_by_pacemaker(cluster, vm)
    wait_for("the node to be fenced", lambda: fencings(cluster) > before, STOP_S + 30, 0.5)
    hang.wait(timeout=60)
    cluster.wait_online()
    told = [message for kind, message in cluster.events_of("unwritten", since)
            if kind == "vm.stop-failed"]
    assert told and "state area" in told[0], cluster.events_of("unwritten", since)
    print(f"  {told[0]}")
    vm.remove()
