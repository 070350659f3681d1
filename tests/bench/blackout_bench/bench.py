# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark inside the lab's LAN: storage, nodes, all cases."""

import time
from dataclasses import dataclass

import cluster
import guest
import peers
from case import EXPECTED, GuestSeries, say
from nodes import NODES, Nodes, use_own_libexec
from options import Plan
from storage import Storage, validate

STORAGE_FOLDER = "/dev/shm"
STORAGE_EXTRA_MIB = 768  # journal, index, and room


@dataclass
class Bench:
    """What all cases share."""
    plan: Plan
    build: str
    cluster: cluster.Cluster
    nodes: Nodes
    storage: Storage


def run(plan, results, lab_name, build):
    """Fills RESULTS; a case that fails does not end the others."""
    begin = time.monotonic()
    storage = Storage(STORAGE_FOLDER, max(plan.ram) + STORAGE_EXTRA_MIB)
    nodes = Nodes(lab_name, storage.device)
    bench = Bench(plan, build, cluster.Cluster(lab_name), nodes, storage)
    try:
        results.all["storage"]["description"] = storage.description
        guest.choose(plan.guest)
        guest.pin_address()
        use_own_libexec(nodes, build)
        bench.cluster.wait_online(NODES)
        nodes.prepare()
        for mb_s in plan.storage:
            found = validate(nodes, storage, mb_s, plan.quick)
            say(f"storage: {found}")
            results.add_validation(found)
        deadline = begin + plan.most_seconds if plan.most_seconds else None
        for turn in range(plan.rounds):
            for ram, peer, pairs in plan.cases():
                _series(bench, results, turn, (ram, peer, pairs), deadline)
    finally:
        nodes.unmount()
        storage.close()


def _series(bench, results, turn, cases, deadline):
    ram, peer, pairs = cases
    series = GuestSeries(bench, peers.BY_NAME[peer], ram)
    for storage_mb_s, dirty_mb_s in pairs:
        if not results.wants(turn, peer, ram, storage_mb_s, dirty_mb_s):
            continue
        begin = time.monotonic()
        say(f"{peer}, {ram} MiB, storage {storage_mb_s or 'unlimited'}, dirty {dirty_mb_s} MB/s")
        late = deadline is not None and begin > deadline
        case = series.case(storage_mb_s, dirty_mb_s, "there was no time left" if late else None)
        results.add(case)
        say(f"  {time.monotonic() - begin:.0f} s" + (f"; FAILED: {case['failed']}" if case["failed"]
                                                     else ""))
        if case["failed"]:
            _end(series)
            series = GuestSeries(bench, peers.BY_NAME[peer], ram)
    if series.is_up:
        _end(series)


def _end(series):
    try:
        series.end()
    except EXPECTED as error:
        say(f"  the guest could not be removed: {error}")
