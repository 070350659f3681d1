# SPDX-License-Identifier: GPL-2.0-or-later
"""vmferryd dies: alone, and on either side in each phase of a move."""

import signal
import subprocess

from cluster import LAB, Vm, wait_for
from phases import Phases, move_to_phase

# The oldest: a second one is a child between fork and exec.
KILLER = "import os,sys,subprocess\nif sys.stdin.readline():\n" \
    " found=subprocess.run(['pgrep','-o','-x',sys.argv[1]],stdout=subprocess.PIPE).stdout\n" \
    " sys.exit(os.kill(int(found),int(sys.argv[2])) if found else 1)\n"
PHASES = ("rehearse", "save", "pause", "load", "commit", "clean")


class Killer:
    """Waits inside a node, so that the signal comes within a millisecond of the word."""

    def __init__(self, cluster, node, program="vmferryd", number=signal.SIGKILL):
        self.program = program
        self.process = subprocess.Popen(
            [str(LAB), "--name", cluster.name, "exec", node, "/usr/bin/python3", "-c", KILLER,
             program, str(int(number))],
            stdin=subprocess.PIPE)

    def say(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def strike(self):
        self.say()
        assert self.process.wait(timeout=20) == 0, f"{self.program} was not reached"

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)


def settled(cluster, vm):
    """The node if the VM runs there and nowhere else, undisturbed."""
    shown = cluster.show(vm)
    if shown.get("state") != "running" or cluster.qemus(vm) != [shown["node"]]:
        return None
    return shown["node"]


def kill_in_phase(cluster, vm, side, phase):
    cluster.wait_online()
    source = wait_for("the VM to be settled", lambda: settled(cluster, vm.name), 60, 0.5)
    target = next(node for node in ("n1", "n2", "n3") if node != source)
    guest = vm.guest()
    counter, boot = guest.counter()
    checksum = guest.sum()
    guest.close()
    killer = Killer(cluster, source if side == "source" else target)
    phases = Phases(cluster, vm.name)
    move, said = move_to_phase(phases, vm, target, phase)
    assert move, f"the phase {phase} was not seen: {said}"
    killer.strike()
    move.communicate()
    phases.close()
    killer.close()
    cluster.wait_online()
    node = wait_for("the guest on exactly one node", lambda: settled(cluster, vm.name), 90, 0.5)
    guest = vm.guest()
    counter_after, boot_after = guest.counter()
    assert boot_after == boot, f"{side}/{phase}: the guest was booted anew"
    assert counter_after > counter
    assert guest.sum() == checksum
    guest.close()
    wait_for("no constraint left", lambda: "vmferry-move" not in cluster.cib(), 60, 1)
    print(f"  vmferryd of the {side} killed in {phase}: memory kept, runs on {node}")


def test_agent_killed_in_each_phase(cluster):
    vm = Vm(cluster, "hunted").define()
    guest = vm.guest()
    guest.fill(64)
    guest.close()
    for side in ("source", "target"):
        for phase in PHASES:
            kill_in_phase(cluster, vm, side, phase)
    vm.remove()


def test_agent_restart_disturbs_no_vm(cluster):
    vm = Vm(cluster, "calm").define()
    guest = vm.guest()
    counter, boot = guest.counter()
    node = cluster.node_of("calm")
    pid = cluster.show("calm")["pid"]
    Killer(cluster, node).strike()
    wait_for("the VM to be adopted",
             lambda: cluster.node_of("calm") == node and cluster.show("calm")["pid"] == pid, 30)
    after, boot_after = guest.counter()
    assert boot_after == boot and after > counter
    guest.close()
    vm.remove()
