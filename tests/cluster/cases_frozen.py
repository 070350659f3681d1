# SPDX-License-Identifier: GPL-2.0-or-later
"""A source whose vmferryd and QEMU stand still in the middle of a move, and go on later: once the target has
taken over, that QEMU never runs guest code again."""

import json
import os
import signal
import socket
import time

import processes
from cases_agent import settled
from cases_faults import Memory
from cluster import NODES, wait_for
from faults import Injector, Oracle, move_begun, move_meanwhile, watched_vm

FROZEN_S = 6
PHASES = ("save", "pause", "load", "commit", "clean")
FILL_MIB = 64
MOVE_TIMEOUT = "15s"


def ran_in(oracle, since):
    """Nodes whose QEMU began to execute the guest since then, as the oracle saw it."""
    return [line["node"] for line in oracle.told(since) if line["what"] == "runs"]


class Frozen:
    """One move with a frozen source."""

    def __init__(self, cluster, vm, oracle):
        self.cluster, self.vm, self.oracle = cluster, vm, oracle
        cluster.wait_online()
        self.source = wait_for("the VM to be settled", lambda: settled(cluster, vm.name), 90, 0.3)
        self.target = next(node for node in NODES if node != self.source)
        self.before = Memory(vm)
        self.began = time.time()
        self.taken_over = False

    def move(self, phase, act):
        seen, _ = move_meanwhile(self.cluster, self.vm, self.source, self.target, phase, act)
        assert seen, f"the phase {phase} was not reached"

    def freeze(self):
        assert Injector(self.cluster).freeze(self.source, self.vm.name) > 0

    def freeze_for_a_while(self):
        self.freeze()
        time.sleep(FROZEN_S)
        self.taken_over = self.target in ran_in(self.oracle, self.began)
        Injector(self.cluster).thaw(self.source, self.vm.name)

    def judge(self):
        """Where it runs now: on one node, with its memory."""
        node = wait_for("the guest on exactly one node",
                        lambda: settled(self.cluster, self.vm.name), 120, 0.3)
        after = Memory(self.vm)
        assert after.boot == self.before.boot, "the guest was booted anew"
        assert after.sum == self.before.sum and after.counter > self.before.counter
        assert after.records > self.before.records
        self.oracle.check()
        return node


def test_frozen_source(cluster):
    vm = watched_vm(cluster, "frozen").define()
    guest = vm.guest()
    guest.fill(FILL_MIB)
    guest.close()
    oracle = Oracle(cluster, vm)
    taken_over = 0
    for phase in PHASES:
        one = Frozen(cluster, vm, oracle)
        one.move(phase, one.freeze_for_a_while)
        node = one.judge()
        if one.taken_over:
            assert node == one.target
            taken_over += 1
        print(f"  frozen in {phase} for {FROZEN_S} s, {one.source} -> {one.target}: "
              f"{'taken over meanwhile' if one.taken_over else 'not taken over'}, on {node}",
              flush=True)
    assert taken_over >= 3, "a source that is frozen after the seal does not hold its target up"
    print(f"  {oracle.close()}")
    vm.remove()


def shorten_move(cluster, vm):
    """Pacemaker gives migrate_to less time than usual: a test cannot wait for ten minutes."""
    cluster.on("n1", "cibadmin", "--modify", "--scope", "resources", "--xml-text",
               f'<op id="{vm}-migrate_to-0" timeout="{MOVE_TIMEOUT}"/>')
    cluster.on("n1", "cibadmin", "--modify", "--scope", "resources", "--xml-text",
               f'<op id="{vm}-stop-0" timeout="{MOVE_TIMEOUT}"/>')


def nobody_thaws(cluster, name, freeze, fenced):
    """The move's source stands still from the load on, and for good. Returns how long that took."""
    vm = watched_vm(cluster, name).define()
    shorten_move(cluster, name)
    guest = vm.guest()
    guest.fill(FILL_MIB)
    guest.close()
    oracle, injector = Oracle(cluster, vm), Injector(cluster)
    one = Frozen(cluster, vm, oracle)
    move = move_begun(cluster, vm, one, "load", lambda: freeze(injector, one.source))
    try:
        node = one.judge()
        seconds = time.time() - one.began
        assert node != one.source
        off = [line["node"] for line in oracle.told(one.began) if line["what"] == "node-off"]
        assert off == ([one.source] if fenced else []), off
        injector.signal(one.source, "vmferryd", signal.SIGCONT)
        cluster.wait_online(timeout=120)
        assert one.judge() == node
    finally:
        injector.signal(one.source, "vmferryd", signal.SIGCONT)
        move.kill()
        move.wait()
    print(f"  frozen in load on {one.source}: memory kept on {node} after {seconds:.0f} s; "
          f"{oracle.close()}", flush=True)
    vm.remove()


def test_frozen_source_is_stopped(cluster):
    """vmferryd and QEMU: Pacemaker's stop ends that QEMU without vmferryd, and nothing has to be fenced. What
    the frozen vmferryd said last does not keep the VM from its start elsewhere."""
    nobody_thaws(cluster, "stopped",
                 lambda injector, node: injector.freeze(node, "stopped"), fenced=False)


def test_frozen_node_is_fenced(cluster):
    nobody_thaws(cluster, "fenced",
                 lambda injector, node: injector.signal_all(node, signal.SIGSTOP), fenced=True)


def continue_behind_its_back(cluster, node, pid, vm):
    """What vmferry must never do: the source's QEMU is told to go on, by hand."""
    injector = Injector(cluster)
    monitor = injector.machines.root(node) / f"run/vmferry/{vm}/qmp.sock"
    injector.signal(node, "vmferryd", signal.SIGKILL)  # its connection to the monitor ends with it
    with socket.socket(socket.AF_UNIX) as qmp:
        qmp.settimeout(5)
        qmp.connect(str(monitor))
        lines = qmp.makefile("rw")
        json.loads(lines.readline())
        for command in ("qmp_capabilities", "cont"):
            lines.write(json.dumps({"execute": command}) + "\n")
            lines.flush()
            while True:
                answer = json.loads(lines.readline())
                if "event" not in answer:
                    break
            assert "return" in answer, answer
        time.sleep(2)
    assert processes.arguments(pid), "it ended meanwhile"


def test_oracle_sees_a_second_copy(cluster):
    """The oracle itself: a second copy of the guest is made to run, and each way of seeing it does."""
    vm = watched_vm(cluster, "twice", image=False).define()
    oracle = Oracle(cluster, vm)
    injector = Injector(cluster)
    one = Frozen(cluster, vm, oracle)
    old = injector.machines.find(one.source, "qemu", "twice")

    def disturb():
        injector.signal(one.source, "vmferryd", signal.SIGSTOP)
        wait_for("the target to take over", lambda: one.target in ran_in(oracle, one.began), 20)
        time.sleep(1)
        continue_behind_its_back(cluster, one.source, old[0], "twice")
        os.kill(old[0], signal.SIGKILL)

    assert len(old) == 1, old
    one.move("load", disturb)
    oracle.process.terminate()
    oracle.process.wait(timeout=60)
    rules = {line["rule"] for line in oracle.told() if line["what"] == "violation"}
    assert "two QEMUs execute the guest" in rules, rules
    assert rules & {"a record was written twice", "a record does not follow from the one before"}, \
        rules
    print(f"  the oracle saw: {', '.join(sorted(rules))}")
    wait_for("the guest on exactly one node", lambda: settled(cluster, "twice"), 120, 0.3)
    vm.remove()
