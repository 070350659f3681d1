# SPDX-License-Identifier: GPL-2.0-or-later
"""Planned moves with a random fault each, in a random moment: nothing is lost, nothing runs twice.

`VMFERRY_TEST_FAULTS` is the number of moves (6), `VMFERRY_TEST_SEED` repeats a run, and
`VMFERRY_TEST_KINDS` chooses kinds of faults (faults.py). What must hold is judged by oracle.py and by the
guest itself."""

import itertools
import os
import random
import signal
import time
from collections import Counter

from cases_pacemaker import nothing_left_behind
from cluster import NODES, run, wait_for
from faults import KINDS, Fault, Injector, Oracle, draw, move_meanwhile, watched_vm

SETTLE_S = 150
FILL_MIB = 96
SAMPLE_S = 0.1  # what the oracle sees may be in another order within it
HAS_THE_GUEST = ("running", "saving", "consumed")
OFF_S = 2  # a node's QEMUs are seen gone so long before or after its power is


def settled(cluster, vm):
    """The node if the VM runs there and nowhere else, with all its memory."""
    try:
        shown = cluster.show(vm)
    except Exception:  # no agent answers yet
        return None
    return cluster.settled_on(shown)


class Memory:
    """What the guest says of itself."""

    def __init__(self, vm):
        guest = vm.guest()
        self.counter, self.boot = guest.counter()
        self.records = int(guest.ask("journal")[1])
        self.sum = guest.sum()
        self.disk = guest.ask("diskcheck")
        guest.close()


def records_around(told, at):
    """The last run record before that time, and those of the same moment."""
    records = [line for line in told if line["what"] == "record" and line["at"] <= at + SAMPLE_S]
    return [line for i, line in enumerate(records)
            if i == len(records) - 1 or records[i + 1]["at"] >= at - SAMPLE_S]


def lost_with_its_qemu(told, since, killed=False):
    """Whether a node lost its power, or (KILLED) a fault ended a QEMU, when only that QEMU had the guest."""
    off = [(line["node"], line["at"]) for line in told if line["what"] == "node-off"]
    for line in told:
        if line["what"] != "qemu-gone" or line["at"] < since:
            continue
        fault = killed or any(node == line["node"] and abs(at - line["at"]) < OFF_S
                              for node, at in off)
        if fault and any(record["owner"] == line["node"] and record["state"] in HAS_THE_GUEST
                         for record in records_around(told, line["at"])):
            return True
    return False


def said_loudly(injector, vm):
    """How many cold boots the nodes' logs tell: the agent that told one may have been killed since."""
    return sum(f"vm.cold-after-loss: {vm} " in line
               for node in NODES for line in injector.log_of(node))


class Round:
    """One move, one fault."""

    def __init__(self, cluster, vm, oracle, injector, fault, target_of):
        self.cluster, self.vm, self.oracle, self.injector = cluster, vm, oracle, injector
        self.fault = fault
        self.source = wait_for("the VM to be settled", lambda: settled(cluster, vm.name), 60, 0.3)
        self.target = target_of([node for node in NODES if node != self.source])
        self.third = next(node for node in NODES if node not in (self.source, self.target))
        self.node = self.source if fault.side == "source" else self.target
        self.began = time.time()
        self.loud_before = said_loudly(injector, vm.name)
        self.newest = max((event["id"] for event in cluster.events(node=self.third)), default=0)
        self.hit = False

    def run(self):
        before = Memory(self.vm)
        self.injector.prepare(self.fault, self.node)
        seen, self.move = move_meanwhile(self.cluster, self.vm, self.source, self.target,
                                         self.fault.phase, self.do_fault)
        assert seen, f"the phase was not reached: {self.move.stderr}"
        return self.judge(before)

    def do_fault(self):
        time.sleep(self.fault.delay_ms / 1000)
        self.hit = self.injector.strike(self.fault, self.node, self.vm.name)
        time.sleep(self.fault.seconds)
        self.injector.undo(self.fault, self.node, self.vm.name)

    def loss_noticed(self):
        """Whether the cluster knows that the node's power was cut: before that it calls it online."""
        return any(event["type"] == "node.lost" and event["message"].startswith(f"{self.node}:")
                   for event in self.cluster.events("--since", str(self.newest), node=self.third))

    def judge(self, before):
        if self.fault.kind == "power":
            wait_for(f"the loss of {self.node}", self.loss_noticed, 60, 0.3)
        self.cluster.wait_online(timeout=120)
        node = wait_for("the guest on exactly one node",
                        lambda: settled(self.cluster, self.vm.name), SETTLE_S, 0.3)
        after = Memory(self.vm)
        self.oracle.check()
        told = self.oracle.told()
        cold = after.boot != before.boot
        if cold:
            self.judge_cold_boot(told)
        else:
            assert after.sum == before.sum, "the guest's memory changed"
            assert after.counter > before.counter, "the guest's counter went back"
        # A guest that has just been booted looks for its last record first.
        wait_for("more records on the disk", lambda: Memory(self.vm).records > before.records,
                 SETTLE_S, 0.5)
        assert after.disk[0] == "diskcheck", after.disk
        nothing_left_behind(self.cluster)
        return node, cold

    def judge_cold_boot(self, told):
        assert self.fault.kind not in ("kill-vmferryd", "kill-saver", "kill-pager"), \
            "the guest was booted anew, though neither its QEMU nor its node was lost"
        assert lost_with_its_qemu(told, self.began, self.fault.may_end_qemu()), \
            "the guest was booted anew, though no QEMU that had it was lost"
        assert said_loudly(self.injector, self.vm.name) > self.loud_before, \
            "the guest was booted anew, and no vm.cold-after-loss says so"

    def timeline(self):
        """What happened when, for whoever reads the failure."""
        lines = [f"{line['at']:.3f} oracle {line}" for line in self.oracle.told(self.began - 1)]
        for node in NODES:
            lines += [f"{event['time']} {event['node']}: {event['type']} {event['message']}"
                      for event in self.cluster.events(node=node)[-30:]]
        return "\n".join(lines)


def told_failure(one, error, number, seed):
    print(f"  round {number}, seed {seed}: {one.fault}, {one.source} -> {one.target}: {error}\n"
          f"{one.timeline()}", flush=True)


def fill(vm):
    guest = vm.guest()
    guest.fill(FILL_MIB)
    guest.close()


def vm_to_lose(cluster, name):
    """A running VM with memory and records."""
    vm = watched_vm(cluster, name).define()
    fill(vm)
    guest = vm.guest()
    guest.ask("disk 5")
    guest.close()
    return vm


def play(cluster, vm, faults, target_of, seed):
    """A move for each fault; how many ended how, and the oracle's summary."""
    oracle, injector, ends = Oracle(cluster, vm), Injector(cluster), Counter()
    try:
        for number, fault in enumerate(faults, 1):
            one = Round(cluster, vm, oracle, injector, fault, target_of)
            try:
                node, cold = one.run()
            except Exception as error:
                told_failure(one, error, number, seed)
                raise
            ends["cold boot that the rules allow" if cold else "memory kept"] += 1
            print(f"  {number}: {one.fault}{'' if one.hit else ' (hit nothing)'}: "
                  f"{'cold boot' if cold else 'memory kept'}, on {node}; "
                  f"{time.time() - one.began:.1f} s", flush=True)
            if cold:
                fill(vm)
    except Exception:
        oracle.abandon()
        raise
    return ends, oracle.close()


def test_random_faults(cluster):
    rounds = int(os.environ.get("VMFERRY_TEST_FAULTS", "6"))
    seed = os.environ.get("VMFERRY_TEST_SEED") or str(random.randrange(1 << 32))
    kinds = tuple(os.environ.get("VMFERRY_TEST_KINDS", ",".join(KINDS)).split(","))
    dice = random.Random(seed)
    print(f"  seed {seed}", flush=True)
    vm = vm_to_lose(cluster, "hunted")
    # Drawn one by one: the seed's next number chooses the target.
    ends, summary = play(cluster, vm, (draw(dice, kinds) for _ in range(rounds)), dice.choice, seed)
    cluster.vmferry("stop", vm.name, "--poweroff")
    run("qemu-img", "check", "-q", cluster.shared(f"{vm.name}.qcow2"))
    print(f"  {rounds} moves, a fault in each: {dict(ends)}; {summary}", flush=True)
    vm.remove()


def test_target_lost_in_the_pause(cluster):
    """Again and again, as QEMU is about to give its disks up: it must take them back, or the guest's next
    write ends it."""
    vm = vm_to_lose(cluster, "regained")
    before, injector = Memory(vm), Injector(cluster)
    for number in range(int(os.environ.get("VMFERRY_TEST_KILLS", "8"))):
        source = wait_for("the VM to be settled", lambda: settled(cluster, vm.name), SETTLE_S, 0.3)
        target = [node for node in NODES if node != source][number % 2]

        def lose(target=target, number=number):
            time.sleep(number % 8 * 0.004)
            injector.signal(target, "vmferryd", signal.SIGKILL)

        seen, move = move_meanwhile(cluster, vm, source, target, "pause", lose)
        assert seen, move.stderr
        wait_for("the VM to be settled", lambda: settled(cluster, vm.name), SETTLE_S, 0.3)
        after = Memory(vm)
        assert (after.boot, after.sum) == (before.boot, before.sum), f"{number}: the guest was lost"
        cluster.wait_online()
    vm.remove()


def test_pager_killed_as_the_load_begins(cluster):
    """Whether QEMU has its device state by then or has not: no memory is lost."""
    kills = int(os.environ.get("VMFERRY_TEST_KILLS", "8"))
    vm, turns = vm_to_lose(cluster, "begun"), itertools.cycle((0, 1))
    play(cluster, vm, [Fault("kill-pager", "target", "load", number % 8 * 2) for number in range(kills)],
         lambda nodes: nodes[next(turns)], "none")
    vm.remove()
