# SPDX-License-Identifier: GPL-2.0-or-later
"""Pagers are killed in random moments of restores: the guest only waits, its memory stays what it was.

`VMFERRY_TEST_KILLS` is the number of restores (5); `VMFERRY_TEST_SEED` repeats a run."""

import json
import os
import random
import select
import subprocess
import threading
import time

from cluster import LAB, NODES, Vm, wait_for

# In each node, until its standard input ends: waits for a pager, then kills what it is told after the
# time it is told: [[milliseconds after the pager was seen (the next ones: after the successor was),
# [program, ...]], ...]
KILLER = r"""
import glob, json, os, select, signal, sys, time

def find(name):
    found = []
    for path in glob.glob('/proc/[0-9]*/exe'):
        try:
            if os.path.basename(os.readlink(path)).split(' ')[0] == name:
                found.append(int(path.split('/')[2]))
        except OSError:
            pass
    return found

def wait_for(name, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pids = find(name)
        if pids:
            return pids
        if select.select([sys.stdin], [], [], 0.001)[0]:
            break
    return []

plan, killed = json.loads(sys.argv[1]), []
print('ready', flush=True)
if wait_for('vmferry-pager', 60):
    began = time.monotonic()
    print('began', flush=True)
    for wait_ms, programs in plan:
        time.sleep(wait_ms / 1000)
        for program in programs:
            for pid in find(program):
                os.kill(pid, signal.SIGKILL)
                killed.append([program, round((time.monotonic() - began) * 1000)])
        wait_for('vmferry-pager', 2)  # its successor, if the load was not over
    if not plan:
        while find('vmferry-pager'):
            time.sleep(0.001)
    print(json.dumps({'killed': killed, 'ms': round((time.monotonic() - began) * 1000)}), flush=True)
"""


class Killers:
    """One waits in each node; the first that sees a pager does the work, the others go."""

    def __init__(self, cluster, plan):
        self.processes = [subprocess.Popen(
            [str(LAB), "--name", cluster.name, "exec", node, "/usr/bin/python3", "-c", KILLER,
             json.dumps(plan)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for node in NODES]
        for process in self.processes:
            assert process.stdout.readline() == "ready\n"
        self.chosen = None
        self.thread = threading.Thread(target=self.choose, daemon=True)
        self.thread.start()

    def choose(self):
        ready = select.select([process.stdout for process in self.processes], [], [], 120)[0]
        for process in self.processes:
            if process.stdout in ready[:1] and process.stdout.readline() == "began\n":
                self.chosen = process
            else:
                process.stdin.close()

    def report(self):
        self.thread.join(timeout=130)
        found = json.loads(self.chosen.stdout.readline()) if self.chosen else None
        for process in self.processes:
            process.stdin.close()
            process.wait(timeout=60)
        return found or {"killed": [], "ms": 0}


def restore_and_kill(cluster, vm, plan):
    """The VM is saved and restored, with PLAN for its pagers; returns what was killed."""
    cluster.wait_online()
    cluster.vmferry("stop", vm.name, "--save")
    killers = Killers(cluster, plan)
    cluster.vmferry("start", vm.name, check=False)  # whose vmferryd may be among the killed
    report = killers.report()
    wait_for("the VM to be settled", lambda: cluster.settled_on(cluster.show(vm.name)), 90, 0.2)
    return report


def replaced_pagers(cluster):
    """How many pagers of running guests were replaced: their vmferryd may have been killed, logs stay."""
    return sum(int(cluster.on(node, "grep", "-c", "vm.pager-lost", "/var/log/vmferryd.log",
                              check=False).stdout) for node in NODES)


def successors_too(cluster):
    """A QEMU before 8.2 crashes when the second pager is killed before it has begun (docs/ARCHITECTURE)."""
    versions = [node["qemu_version"].split(".") for node in cluster.json("node")]
    return all((int(version[0]), int(version[1])) >= (8, 2) for version in versions)


def draw(dice, length_ms, successors):
    """Mostly the pager; sometimes its successors, too; sometimes vmferryd with it."""
    plan = [[dice.uniform(0, length_ms), ["vmferry-pager"]]]
    kind = dice.choice(("pager", "pager", "successors" if successors else "pager", "agent"))
    if kind == "successors":
        plan += [[dice.uniform(0, 40), ["vmferry-pager"]] for _ in range(dice.randint(1, 3))]
    elif kind == "agent":
        plan[0][1] = ["vmferryd", "vmferry-pager"]
    return kind, plan


def kill_pagers(cluster, vm, rounds):
    seed = os.environ.get("VMFERRY_TEST_SEED") or str(random.randrange(1 << 32))
    dice = random.Random(seed)
    guest = vm.guest()
    guest.fill(vm.definition["memory_mib"] // 2)
    counter, boot = guest.counter()
    checksum = guest.sum()
    guest.close()
    length_ms = restore_and_kill(cluster, vm, [])["ms"]
    successors = successors_too(cluster)
    print(f"  seed {seed}; a pager lives {length_ms} ms", flush=True)
    hit = {"pager": 0, "successors": 0, "agent": 0}
    killed, tries, before = 0, 0, replaced_pagers(cluster)
    while sum(hit.values()) < rounds:
        tries += 1
        assert tries <= 3 * rounds, "too few kills hit a pager"
        kind, plan = draw(dice, length_ms, successors)
        began = time.monotonic()
        report = restore_and_kill(cluster, vm, plan)
        guest = vm.guest()
        now, boot_now = guest.counter()
        assert boot_now == boot, f"the guest was booted anew after {plan}, {report}"
        assert now > counter and guest.sum() == checksum, f"memory changed after {plan}, {report}"
        guest.close()
        counter = now
        pagers = [at for program, at in report["killed"] if program == "vmferry-pager"]
        if pagers:
            hit[kind] += 1
            killed += len(pagers)
            print(f"  {sum(hit.values())}: {kind}, pagers killed after {pagers} ms; "
                  f"{time.monotonic() - began:.1f} s", flush=True)
    replaced = replaced_pagers(cluster) - before
    print(f"  {rounds} restores with {killed} pagers killed ({hit}), {replaced} replaced while the "
          f"guest ran: memory identical each time; {tries - rounds} kills came too late", flush=True)


def test_pagers_killed_at_random(cluster):
    vm = Vm(cluster, "hunted", memory_mib=1024).define()
    kill_pagers(cluster, vm, int(os.environ.get("VMFERRY_TEST_KILLS", "5")))
    vm.remove()
