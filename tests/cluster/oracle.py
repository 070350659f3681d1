#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches that nothing is lost and nothing runs twice, and believes no word of vmferry.

usage: oracle.py LAB VM JOURNAL AREA

Outside of all nodes it looks, many times a second, at what cannot lie: the QEMU processes of the VM in all
nodes and how long their vCPUs were on a CPU, the records that the guest writes to its disk
(tests/guest/journal.h; JOURNAL is the disk's image), and the run record in the state area. Prints a JSON
object a line: what it saw, "violation" where a rule was broken, "summary" at the end, which SIGTERM asks
for. Exit code 1 after a violation."""

import json
import os
import signal
import struct
import sys
import time

import processes
from image import SLOTS

EVERY_S = 0.02
SECTOR, WORDS = 512, 64
MAGIC = 0x766D666C6E726A30
MIX, MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
WINDOW = 256  # the latest records, which are compared again each time
CHUNK = 4096  # records read at once
PATIENCE_S = 5.0  # with a record that is not whole
# A vCPU thread that was on a CPU for this part of a sample executes its guest: a stopped one only wakes
# up. QEMU needs some before it begins, for its reset and for what it loads.
RUNS_SHARE, RUNS_LEAST_S, START_S = 0.05, 0.003, 0.06
PF_EXITING = 4  # of a thread's flags in proc(5)
STATES = ("empty", "running", "saving", "sealed", "consumed", "off", "quarantined")


def checksum(words):
    total = len(words)
    for word in words:
        total = (total ^ word) * MIX & MASK
        total = (total << 29 | total >> 35) & MASK
    return total


class Log:
    def __init__(self):
        self.violations = 0

    def say(self, what, **details):
        print(json.dumps({"at": round(time.time(), 3), "what": what} | details), flush=True)

    def violation(self, rule, **details):
        self.violations += 1
        self.say("violation", rule=rule, **details)


class Qemu:
    """One process, and its vCPUs' time on a CPU."""

    def __init__(self, pid, node):
        self.pid, self.node = pid, node
        self.spent, self.ran_first = 0, None
        self.used = 0.0  # seconds, all in all

    def sample(self):
        """Nanoseconds its vCPUs were on a CPU since it was asked last; None when it is gone."""
        total = 0
        try:
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                base = f"/proc/{self.pid}/task/{thread}"
                with open(f"{base}/comm", encoding="ascii", errors="replace") as file:
                    if not file.read().startswith("CPU "):
                        continue
                with open(f"{base}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[0])
                with open(f"{base}/stat", encoding="ascii", errors="replace") as file:
                    if int(file.read().rpartition(")")[2].split()[6]) & PF_EXITING:
                        return 0  # it was killed, and gives its memory back
        except (OSError, ValueError, IndexError):
            if not os.path.exists(f"/proc/{self.pid}/task"):
                return None
            return 0
        spent, self.spent = max(total - self.spent, 0), max(total, self.spent)
        return spent


BECOME_QEMU = ("vmferryd", "env", "vmferry-launch")  # by exec: they keep their pid


class Processes:
    """Rule: once another QEMU has begun to execute the guest, the one before never does again."""

    def __init__(self, log, lab, vm):
        self.log, self.vm = log, vm
        self.machines = processes.Machines(lab)
        self.others = set()  # pids of other programs
        self.qemus = {}
        self.on = set()  # nodes
        self.newest = None  # the last one that began to execute the guest
        self.sampled = time.monotonic()

    def look_for_new(self):
        found = set(processes.pids())
        self.others &= found
        for pid in found - self.others - set(self.qemus):
            argv = processes.arguments(pid)
            if processes.qemu_of(argv) == self.vm and self.machines.node_of(pid):
                self.qemus[pid] = Qemu(pid, self.machines.node_of(pid))
                self.log.say("qemu", pid=pid, node=self.qemus[pid].node)
            elif argv and os.path.basename(argv[0]) not in BECOME_QEMU:
                self.others.add(pid)

    def look_for_nodes(self):
        there = {name for space, name in self.machines.nodes.items() if self.machines.alive(space)}
        if len(there) < len(self.machines.names):
            self.machines.refresh()
            there = set(self.machines.nodes.values())
        for node in sorted(there ^ self.on):
            self.log.say("node-on" if node in there else "node-off", node=node)
        self.on = there

    def look(self):
        self.look_for_nodes()
        self.look_for_new()
        now = time.monotonic()
        seconds, self.sampled = now - self.sampled, now
        for pid, qemu in list(self.qemus.items()):
            spent = qemu.sample()
            if spent is None:
                self.log.say("qemu-gone", pid=pid, node=qemu.node)
                del self.qemus[pid]
            else:
                self.note(qemu, spent / 1e9, seconds, now)

    def note(self, qemu, spent, seconds, now):
        qemu.used += spent
        runs = spent > max(RUNS_LEAST_S, RUNS_SHARE * seconds) and qemu.used > START_S
        if not runs:
            return
        if qemu.ran_first is None:
            qemu.ran_first = now
            self.newest = qemu
            self.log.say("runs", pid=qemu.pid, node=qemu.node)
        elif qemu is not self.newest and now > self.newest.ran_first:
            self.log.violation("two QEMUs execute the guest", old=[qemu.node, qemu.pid],
                               new=[self.newest.node, self.newest.pid],
                               ms=round(spent * 1000, 1))


class Journal:
    """Rules: no record is missing, none changes once it was there, each follows from the one before, and no
    boot writes after the next one has begun."""

    def __init__(self, log, path):
        self.log = log
        self.file = open(path, "rb", buffering=0)
        self.count, self.previous, self.boots = 0, 0, []
        self.window = b""  # the last WINDOW records
        self.counter = self.monotonic = 0
        self.broken_since = None
        self.sums = []

    def look(self):
        self.compare()
        self.file.seek(self.count * SECTOR)
        data = self.file.read(CHUNK * SECTOR)
        for at in range(0, len(data) - SECTOR + 1, SECTOR):
            sector = data[at:at + SECTOR]
            if not self.take(sector):
                break

    def compare(self):
        first = self.count - len(self.window) // SECTOR
        self.file.seek(first * SECTOR)
        found = self.file.read(len(self.window))
        if found == self.window:
            return
        for at in range(0, len(found), SECTOR):
            if found[at:at + SECTOR] != self.window[at:at + SECTOR]:
                self.log.violation("a record was written twice", record=first + at // SECTOR,
                                   was=self.tell(self.window[at:at + SECTOR]),
                                   now=self.tell(found[at:at + SECTOR]))
                break
        self.window = found

    @staticmethod
    def tell(sector):
        words = struct.unpack(f"<{WORDS}Q", sector)
        return {"number": words[1], "boot": f"{words[2]:016x}", "counter": words[3]}

    def take(self, sector):
        """The next record, if it is there."""
        words = struct.unpack(f"<{WORDS}Q", sector)
        if words[0] == 0 and words[1] == 0:
            return False
        if words[0] != MAGIC or words[-1] != checksum(words[:-1]):
            self.broken()
            return False
        self.broken_since = None
        self.check(*words[1:6])
        self.count += 1
        self.previous = words[-1]
        self.sums.append(words[-1])
        self.window = (self.window + sector)[-WINDOW * SECTOR:]
        return True

    def broken(self):
        """It may be read in the middle of its write."""
        now = time.monotonic()
        if self.broken_since is None:
            self.broken_since = now
        elif now - self.broken_since > PATIENCE_S:
            self.log.violation("a record is not whole", record=self.count)
            self.broken_since = now

    def check(self, number, boot, counter, monotonic, previous):
        if number != self.count:
            self.log.violation("a record has another's number", record=self.count, number=number)
        if previous != self.previous:
            self.log.violation("a record does not follow from the one before", record=number,
                               boot=f"{boot:016x}", counter=counter)
        if self.boots[-1:] != [boot]:
            if boot in self.boots:
                self.log.violation("an earlier boot writes again", record=number,
                                   boot=f"{boot:016x}")
            self.boots.append(boot)
            self.log.say("boot", boot=f"{boot:016x}", record=number)
        elif counter < self.counter or monotonic <= self.monotonic:
            self.log.violation("the guest went back", record=number, counter=[self.counter, counter])
        self.counter, self.monotonic = counter, monotonic

    def check_all(self):
        """Once more from the first to the last: what was written behind the window's back."""
        self.look()
        self.file.seek(0)
        for number, expected in enumerate(self.sums):
            if number % CHUNK == 0:
                data = self.file.read(CHUNK * SECTOR)
            at = number % CHUNK * SECTOR
            if struct.unpack_from("<Q", data, at + SECTOR - 8)[0] != expected:
                self.log.violation("a record changed later", record=number,
                                   now=self.tell(data[at:at + SECTOR]))


class RunRecord:
    """Rule: the epoch only grows."""

    def __init__(self, log, path):
        self.log, self.path = log, path
        self.last = None

    def read(self):
        """(sequence, epoch, state, owner, peer) of the newer slot."""
        found = []
        with open(self.path, "rb") as file:
            for place in SLOTS.values():
                file.seek(place)
                slot = file.read(4096)
                if len(slot) == 4096 and slot[:8] == b"VMFERRY1":
                    sequence, epoch, state = struct.unpack_from("<QQI", slot, 16)
                    owner, peer = (slot[at:at + 256].split(b"\0")[0].decode(errors="replace")
                                   for at in (192, 448))
                    found.append((sequence, epoch, state, owner, peer))
        return max(found, default=None)

    def look(self):
        try:
            record = self.read()
        except OSError:
            return
        if record is None or record == self.last:
            return
        sequence, epoch, state, owner, peer = record
        if self.last is not None and epoch < self.last[1]:
            self.log.violation("the record's epoch went back", epoch=[self.last[1], epoch])
        self.last = record
        self.log.say("record", sequence=sequence, epoch=epoch, owner=owner, peer=peer,
                     state=STATES[state] if state < len(STATES) else state)


def main(argv):
    lab, vm, journal_path, area = argv
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    log = Log()
    journal = Journal(log, journal_path)
    watchers = [Processes(log, lab, vm), journal, RunRecord(log, area)]
    samples, longest, last = 0, 0.0, time.monotonic()
    log.say("watching", vm=vm)
    while not stop:
        for watcher in watchers:
            watcher.look()
        now = time.monotonic()
        samples, longest, last = samples + 1, max(longest, now - last), now
        time.sleep(EVERY_S)
    journal.check_all()
    log.say("summary", samples=samples, longest_gap_ms=round(longest * 1000),
            records=journal.count, boots=len(journal.boots), violations=log.violations)
    return 1 if log.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
