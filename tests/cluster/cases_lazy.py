# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest runs while its pages follow: what may end meanwhile, and the eager way."""

import signal
import socket
import subprocess

from cases_agent import Killer
from cluster import NODES, TOP, Skipped, Vm, wait_for
from image import Image
from phases import Phases

KILL = "for pid in $(pidof {0}); do kill -9 $pid; done"


def loading_vm(cluster, name):
    """A VM that was just restored: its guest, and most of its pages are still to come. (Of one that is moved,
    most were read along.)"""
    vm = Vm(cluster, name, memory_mib=2048).define()
    guest = vm.guest()
    guest.fill(1024)
    before, checksum = guest.counter(), guest.sum()
    for _ in range(5):  # a fast storage may be through before anybody looks
        cluster.vmferry("stop", name, "--save")
        cluster.vmferry("start", name)
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


def test_agent_and_pager_killed(cluster):
    """The agent that is started next has not seen that the load lost its pager."""
    vm, shown, memory = loading_vm(cluster, "paged")
    both = cluster.on(shown["node"], "sh", "-c", "pagers=$(pidof vmferry-pager); "
                      "kill -9 $(pidof vmferryd) $pagers; test -n \"$pagers\"", check=False)
    wait_for("the VM to be adopted",  # until then nobody knows its state
             lambda: cluster.show("paged").get("state") == "running", 30)
    memory_is_whole(cluster, vm, *memory)
    assert cluster.show("paged")["pid"] == shown["pid"]
    lost = [event for event in cluster.events(node=shown["node"])
            if event["type"] == "vm.pager-lost" and event["vm"] == "paged"]
    vm.remove()
    if both.returncode != 0:
        raise Skipped("the load was over before its pager could be killed")
    assert len(lost) == 1 and "vmferryd that had started it" in lost[0]["message"], lost


def test_save_waits_for_the_load(cluster):
    vm, _, (guest, before, checksum) = loading_vm(cluster, "paged")
    guest.close()
    cluster.vmferry("stop", "paged", "--save")
    assert cluster.show("paged")["state"] == "saved"
    cluster.vmferry("start", "paged")
    memory_is_whole(cluster, vm, vm.guest(), before, checksum)
    vm.remove()


def half_loaded_vm(cluster, name):
    """A VM that was just restored and whose pager is stopped: the load lasts until it goes on."""
    vm = Vm(cluster, name, memory_mib=1024).define()
    guest = vm.guest()
    guest.fill(512)
    before, checksum = guest.counter(), guest.sum()
    guest.close()
    cluster.vmferry("stop", name, "--save")
    stoppers = [Killer(cluster, node, "vmferry-pager", signal.SIGSTOP) for node in NODES]
    phases = Phases(cluster, name)
    start = subprocess.Popen([str(TOP / "build/release/migrate/command/vmferry"), "start", name])
    seen = phases.wait("clean", 60, start)
    for stopper in stoppers:
        stopper.say()
    start.wait()
    phases.close()
    for stopper in stoppers:  # where there is no pager, they find none
        stopper.close()
    shown = cluster.show(name)
    assert seen and shown["loading"], "the load was over too soon"
    return vm, shown["node"], before, checksum


# Exit 0 if the main loop of a QEMU answers its second monitor within a second.
ANSWERS = """import socket, sys
monitor = socket.socket(socket.AF_UNIX)
monitor.settimeout(1)
monitor.connect(sys.argv[1])
lines = monitor.makefile("rw")
lines.readline()
print('{"execute":"qmp_capabilities"}', file=lines, flush=True)
lines.readline()
"""


def waits_for_a_page(cluster, vm, node):
    """Packets for the guest, whose network card has no memory yet to put them: QEMU's main loop waits."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(300):
            sender.sendto(b"?", (vm.ip, 9))
    return cluster.on(node, "python3", "-c", ANSWERS, f"/run/vmferry/{vm.name}/qmp-aux.sock",
                      check=False).returncode != 0


def test_agent_and_pager_killed_while_qemu_waits_for_a_page(cluster):
    """QEMU's main loop waits for the next pager, so it answers none of the next agent's questions."""
    vm, node, before, checksum = half_loaded_vm(cluster, "paged")
    pid = cluster.show("paged")["pid"]
    wait_for("QEMU's main loop to wait for a page", lambda: waits_for_a_page(cluster, vm, node), 30)
    cluster.on(node, "sh", "-c", "kill -9 $(pidof vmferryd) $(pidof vmferry-pager)")
    wait_for("the VM to be adopted", lambda: cluster.show("paged").get("state") == "running", 60)
    memory_is_whole(cluster, vm, vm.guest(), before, checksum)
    shown = cluster.show("paged")
    assert (shown["node"], shown["pid"]) == (node, pid), shown
    vm.remove()


def test_agent_killed_with_a_torn_record(cluster):
    """The write that was to say RUNNING tore its slot: who runs the guest mends it."""
    vm, node, before, checksum = half_loaded_vm(cluster, "paged")
    pid = cluster.show("paged")["pid"]
    area = Image(cluster.shared(vm.area))
    area.flip(area.older_slot() + 100)
    cluster.on(node, "sh", "-c", "kill -9 $(pidof vmferryd); pkill -CONT -x vmferry-pager")
    wait_for("the VM to be adopted", lambda: cluster.show("paged").get("state") == "running", 30)
    memory_is_whole(cluster, vm, vm.guest(), before, checksum)
    shown = cluster.show("paged")
    assert (shown["node"], shown["pid"]) == (node, pid), shown
    vm.remove()


def asks_while_loading(cluster, target, kind, *argv):
    """A command that needs all memory is given while the pager is stopped: its job says so."""
    command = subprocess.Popen(
        [str(TOP / "build/release/migrate/command/vmferry"), *argv], stderr=subprocess.PIPE,
        text=True)
    wait_for(f"a job \"{kind}\" that waits for the load", lambda: [
        job for job in cluster.json("jobs")
        if job["kind"] == kind and job["phase"] == "finish-load" and job["state"] == "running"], 30)
    cluster.on(target, "pkill", "-CONT", "-x", "vmferry-pager")
    errors = command.communicate(timeout=180)[1]
    assert command.returncode == 0, errors
    return errors


def test_move_hurries_the_load(cluster):
    vm, target, before, checksum = half_loaded_vm(cluster, "hurried")
    errors = asks_while_loading(cluster, target, "migrate", "migrate", "hurried")
    assert "finish-load" in errors, errors
    assert cluster.show("hurried")["node"] != target
    memory_is_whole(cluster, vm, vm.guest(), before, checksum)
    vm.remove()


def test_save_hurries_the_load(cluster):
    vm, target, before, checksum = half_loaded_vm(cluster, "hurried")
    asks_while_loading(cluster, target, "save", "stop", "hurried", "--save")
    assert cluster.show("hurried")["state"] == "saved"
    saves = [job for job in cluster.json("jobs")
             if job["kind"] == "save" and job["vm"] == "hurried"]
    assert [job["state"] for job in saves[:2]] == ["done", "done"], saves  # half_loaded_vm's, too
    cluster.vmferry("start", "hurried")
    memory_is_whole(cluster, vm, vm.guest(), before, checksum)
    vm.remove()


def test_power_cut_while_loading(cluster):
    """Its image was resumed once: the guest starts cold elsewhere, and the event says why."""
    vm, target, before, _ = half_loaded_vm(cluster, "halfway")
    epoch = cluster.show("halfway")["epoch"]
    cluster.lab("kill", target)
    node = wait_for("the VM on another node",
                    lambda: cluster.node_of("halfway") not in (None, target) and
                    cluster.node_of("halfway"), 90)
    guest = vm.guest()
    assert guest.counter()[1] != before[1], "the image was loaded a second time"
    guest.close()
    assert cluster.show("halfway")["epoch"] == epoch + 1
    lost = [event for event in cluster.events(node=node)
            if event["type"] == "vm.cold-after-loss" and event["vm"] == "halfway"]
    assert len(lost) == 1 and "still being loaded" in lost[0]["message"], lost
    assert 0 < lost[0]["details"]["loading_s"] < 60 and lost[0]["details"]["lost"] == target, lost
    assert lost[0]["node"] == node
    print(f"  {lost[0]['message']}")
    cluster.wait_online()
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
