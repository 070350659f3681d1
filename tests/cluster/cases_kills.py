# SPDX-License-Identifier: GPL-2.0-or-later
"""Pagers are killed in random moments of restores: the guest only waits, its memory stays what it was.

`VMFERRY_TEST_KILLS` is the number of restores (5); `VMFERRY_TEST_SEED` repeats a run."""

import json
import os
import random
import subprocess
import time

from cluster import LAB, NODES, Vm, wait_for

# In the target's node: waits for the pager, then kills what it is told after the time it is told:
# [[milliseconds after the pager was seen (the next ones: after the kill before), [program, ...]], ...]
KILLER = r"""
import glob, json, os, signal, sys, time

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
        time.sleep(0.001)
    return []

plan, killed = json.loads(sys.argv[1]), []
print('ready', flush=True)
if wait_for('vmferry-pager', 60):
    began = time.monotonic()
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
else:
    print(json.dumps({'killed': [], 'ms': 0}), flush=True)
"""


def settled(cluster, vm):
    shown = cluster.show(vm)
    return (shown["state"] == "running" and not shown["loading"] and
            shown["record_state"] == "running" and cluster.qemus(vm) == [shown["node"]] and
            shown["node"])


def move_and_kill(cluster, vm, plan):
    """One restore on another node, with PLAN for its pagers; returns what was killed."""
    source = wait_for("the VM to be settled", lambda: settled(cluster, vm.name), 90, 0.2)
    target = NODES[(NODES.index(source) + 1) % len(NODES)]
    cluster.wait_online()
    killer = subprocess.Popen(
        [str(LAB), "--name", cluster.name, "exec", target, "/usr/bin/python3", "-c", KILLER,
         json.dumps(plan)], stdout=subprocess.PIPE, text=True)
    assert killer.stdout.readline() == "ready\n"
    cluster.vmferry("migrate", vm.name, "--to", target, check=False)
    report = json.loads(killer.communicate(timeout=120)[0])
    wait_for("the VM to be settled", lambda: settled(cluster, vm.name), 90, 0.2)
    return report


def draw(dice, length_ms):
    """Mostly the pager; sometimes its successor, too; sometimes vmferryd with it."""
    plan = [[dice.uniform(0, length_ms), ["vmferry-pager"]]]
    kind = dice.choice(("pager", "pager", "successors", "agent"))
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
    length_ms = move_and_kill(cluster, vm, [])["ms"]
    print(f"  seed {seed}; a pager lives {length_ms} ms", flush=True)
    hit = {"pager": 0, "successors": 0, "agent": 0}
    killed, tries, since = 0, 0, cluster.last_event()
    while sum(hit.values()) < rounds:
        tries += 1
        assert tries <= 3 * rounds, "too few kills hit a pager"
        kind, plan = draw(dice, length_ms)
        began = time.monotonic()
        report = move_and_kill(cluster, vm, plan)
        now, boot_now = guest.counter()  # the same TCP connection
        assert boot_now == boot, f"the guest was booted anew after {plan}, {report}"
        assert now > counter and guest.sum() == checksum, f"memory changed after {plan}, {report}"
        counter = now
        pagers = [at for program, at in report["killed"] if program == "vmferry-pager"]
        if pagers:
            hit[kind] += 1
            killed += len(pagers)
            print(f"  {sum(hit.values())}: {kind}, pagers killed after {pagers} ms; "
                  f"{time.monotonic() - began:.1f} s", flush=True)
    guest.close()
    replaced = [kind for kind, _ in cluster.events_of(vm.name, since)].count("vm.pager-lost")
    print(f"  {rounds} restores with {killed} pagers killed ({hit}), {replaced} replaced while the "
          f"guest ran: memory identical each time; {tries - rounds} kills came too late", flush=True)


def test_pagers_killed_at_random(cluster):
    vm = Vm(cluster, "hunted", memory_mib=1024).define()
    kill_pagers(cluster, vm, int(os.environ.get("VMFERRY_TEST_KILLS", "5")))
    vm.remove()
