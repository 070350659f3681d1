# SPDX-License-Identifier: GPL-2.0-or-later
"""What random faults are made of: their kinds, how each is done and undone, and the oracle that watches."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import processes
from cluster import Vm, run
from layout import LUN_BYTES
from phases import Phases, move_to_phase

HERE = Path(__file__).resolve().parent
PHASE_S, MOVE_S = 60, 240
THAW_S = 0.5  # between a thawed QEMU and its vmferryd
JOURNAL_MS = 10
JOURNAL_LUN = "/srv/lun/lun3"
# The phases of a move and how long, in ms, a fault's moment may lie behind their beginning.
PHASES = {"rehearse": 300, "save": 700, "pause": 30, "load": 30, "commit": 40, "clean": 800}
PROGRAMS = {"vmferryd": 1, "saver": 2, "pager": 4, "qemu": 8}


def watched_vm(cluster, name, image=True, **overrides):
    """A VM with a journal, and with a qcow2 disk (requests "disk", "diskcheck") if IMAGE.

    The journal is on a LUN. QEMU locks a file, and its lock would hide what only vmferry's own rules
    prevent: each node has a device node of its own, so two QEMUs could write."""
    disks = [{"type": "block", "format": "raw", "path": JOURNAL_LUN}]
    run("fallocate", "--punch-hole", "--offset", "0", "--length", str(LUN_BYTES),
        journal_file(cluster))
    if image:
        run("qemu-img", "create", "-q", "-f", "qcow2", cluster.shared(f"{name}.qcow2"), "1G")
        disks.insert(0, {"type": "file", "format": "qcow2", "path": f"/srv/shared/{name}.qcow2"})
    vm = Vm(cluster, name, disks=disks, **overrides)
    vm.definition["boot"]["cmdline"] += f" guest.journal=vd{'b' if image else 'a'}:{JOURNAL_MS}"
    return vm


def journal_file(cluster):
    """What is behind the journal's LUN."""
    return processes.Machines(cluster.name).layout.lun(int(JOURNAL_LUN[-1]))


class Oracle:
    """oracle.py for one VM, in a process of its own."""

    def __init__(self, cluster, vm):
        self.output = tempfile.NamedTemporaryFile("w+", suffix=".oracle")
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(HERE / "oracle.py"), cluster.name, vm.name,
             str(journal_file(cluster)), str(cluster.shared(vm.area))],
            stdout=self.output)

    def told(self, since=0.0):
        """What it saw, from the time SINCE on."""
        with open(self.output.name, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
        return [line for line in lines if line["at"] >= since]

    def check(self):
        assert self.process.poll() is None, f"the oracle ended: {self.told()[-3:]}"
        broken = [line for line in self.told() if line["what"] == "violation"]
        assert not broken, f"the oracle saw: {broken[:3]}"

    def close(self):
        """Its summary; fails where a rule was broken, or where it cannot have seen much."""
        self.process.terminate()
        code = self.process.wait(timeout=120)
        told = self.told()
        self.output.close()
        broken = [line for line in told if line["what"] == "violation"]
        assert code == 0 and not broken, f"the oracle (exit code {code}) saw: {broken[:3]}"
        summary = told[-1]
        assert summary["what"] == "summary" and summary["records"] > 0, summary
        return summary

    def abandon(self):
        """After a failure that is told already."""
        self.process.kill()
        self.process.wait()


@dataclass
class Fault:
    kind: str
    side: str  # source or target
    phase: str
    delay_ms: float
    seconds: float = 0.0  # until it is undone
    control: tuple = ()  # storage: kind, requests and programs as in storage_fault.c

    def may_end_qemu(self):
        """QEMU itself may end (SIGABRT) where its disk fails just after a move."""
        return self.kind == "kill-qemu" or \
            (self.kind == "storage" and self.control[0] in "en" and
             self.control[2] & PROGRAMS["qemu"] != 0)

    def __str__(self):
        text = f"{self.kind} of the {self.side} in {self.phase} +{self.delay_ms:.0f} ms"
        if self.seconds:
            text += f" for {self.seconds:.1f} s"
        if self.control:
            kind, requests, mask = self.control
            names = [name for name, bit in PROGRAMS.items() if bit & mask]
            text += f" ({kind}, {('', 'reads', 'writes', 'both')[requests]}, {'+'.join(names)})"
        return text


KINDS = ("kill-vmferryd", "kill-saver", "kill-pager", "kill-qemu", "power", "cut", "storage",
         "storage", "freeze", "freeze-node")


def draw(dice, kinds=KINDS):
    """A fault as the dice have it: what it can hit at all, at a time when it is there."""
    kind = dice.choice(kinds)
    side = dice.choice(("source", "target"))
    phase = dice.choice(list(PHASES))
    if kind == "kill-saver":
        side, phase = "source", dice.choice(("save", "save", "pause"))
    if kind == "kill-pager":
        side, phase = "target", dice.choice(("save", "pause", "load", "commit", "clean"))
    fault = Fault(kind, side, phase, dice.uniform(0, PHASES[phase]))
    if kind == "storage":
        programs = PROGRAMS["saver" if side == "source" else "pager"]
        mask = dice.choice((programs, PROGRAMS["vmferryd"], PROGRAMS["qemu"], 15, 15))
        fault.control = (dice.choice("enh"), dice.choice((1, 2, 3, 3)), mask)
        fault.seconds = dice.uniform(0.2, 6)
    elif kind in ("freeze", "freeze-node"):
        fault.seconds = dice.choice((dice.uniform(0.5, 3), dice.uniform(3, 15)))
    elif kind == "cut":
        fault.seconds = dice.choice((dice.uniform(0.1, 0.8), dice.uniform(2, 10)))
    return fault


class Injector:
    """Does faults to the nodes, from outside of them."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.machines = processes.Machines(cluster.name)

    def log_of(self, node):
        """The lines of its vmferryd's log, from all its boots."""
        path = self.machines.layout.machine(node) / "log/vmferryd.log"
        return path.read_text(encoding="utf-8", errors="replace").splitlines()

    def signal(self, node, program, number, vm=None):
        """How many processes got it."""
        reached = 0
        for pid in self.machines.find(node, program, vm):
            try:
                os.kill(pid, number)
                reached += 1
            except ProcessLookupError:
                pass
        return reached

    def signal_all(self, node, number):
        """All processes of a node, but for the first one: as if its computer stood still."""
        self.machines.refresh()
        for pid in processes.pids():
            space = processes.namespace(pid)
            if self.machines.nodes.get(space) == node and pid != self.machines.first[space]:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass

    def freeze(self, node, vm):
        """vmferryd and the VM's QEMU: how many processes."""
        return self.signal(node, "vmferryd", signal.SIGSTOP) + \
            self.signal(node, "qemu", signal.SIGSTOP, vm)

    def thaw(self, node, vm):
        """QEMU first: nobody tells it anything yet."""
        self.signal(node, "qemu", signal.SIGCONT, vm)
        time.sleep(THAW_S)
        self.signal(node, "vmferryd", signal.SIGCONT)

    def storage(self, node, control):
        """Nothing to be done where the node is off: it boots without a fault."""
        try:
            path = self.machines.root(node) / "run/storage-fault"
            with open(path, "r+b", buffering=0) as file:
                file.write(bytes(control))
        except (OSError, KeyError):
            pass

    def prepare(self, fault, node):
        """io_uring's requests pass the library by: none is set up where storage is to fail."""
        if fault.kind == "storage":
            self.storage(node, (0, 0, 0, 1))

    def strike(self, fault, node, vm):
        """Whether it hit anything."""
        kind = fault.kind
        if kind == "power":
            self.cluster.lab("kill", node)
            return True
        if kind == "cut":
            self.cluster.lab("cut", node)
            return True
        if kind == "storage":
            letter, requests, programs = fault.control
            self.storage(node, (ord(letter), requests, programs, 1))
            return True
        if kind == "freeze":
            return self.freeze(node, vm) > 0
        if kind == "freeze-node":
            self.signal_all(node, signal.SIGSTOP)
            return True
        program = {"kill-vmferryd": "vmferryd", "kill-saver": "vmferry-saver",
                   "kill-pager": "vmferry-pager", "kill-qemu": "qemu"}[kind]
        return self.signal(node, program, signal.SIGKILL, vm if program == "qemu" else None) > 0

    def undo(self, fault, node, vm):
        if fault.kind == "cut":
            self.cluster.lab("heal", node)
        elif fault.kind == "storage":
            self.storage(node, (0, 0, 0, 0))
        elif fault.kind == "freeze":
            self.thaw(node, vm)
        elif fault.kind == "freeze-node":
            self.signal_all(node, signal.SIGCONT)


def move_begun(cluster, vm, one, phase, act):
    """Begins the move ONE.source -> ONE.target and calls ACT in the phase; the command, still running."""
    phases = Phases(cluster, vm.name)
    try:
        move, said = move_to_phase(phases, vm, one.target, phase, PHASE_S)
        assert move, f"the phase {phase} was not reached: {said}"
        act()
    finally:
        phases.close()
    return move


def move_meanwhile(cluster, vm, source, target, phase, act):
    """Moves the VM, and calls ACT when the phase begins. Returns whether it did, and the command's end."""
    phases = Phases(cluster, vm.name)
    try:
        move, said = move_to_phase(phases, vm, target, phase, PHASE_S)
        if move is None:
            return False, subprocess.CompletedProcess([], 1, "", said)
        try:
            act()
            errors = move.communicate(timeout=MOVE_S)[1]
        finally:
            move.kill()
            move.wait()
    finally:
        phases.close()
    return True, subprocess.CompletedProcess(move.args, move.returncode, "", errors)
