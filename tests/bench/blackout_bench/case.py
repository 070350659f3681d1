# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases: the moves of one guest by one peer, and what comes of them."""

import statistics
import subprocess
import sys
import time
import traceback
from contextlib import nullcontext

import guest
import measure
import storage as storage_module
from cluster import CommandFailed
from cpu_time import CpuTime
from errors import BenchError
from nodes import NODES
from probe import Probe

SHORT_CALM = 1.7  # seconds of probing before a move without the lost work
PROBE_SECONDS = 0.2
MIB = 1 << 20
EXPECTED = (BenchError, CommandFailed, AssertionError, OSError, subprocess.SubprocessError)


def say(text):
    print(text, file=sys.stderr, flush=True)


def other(node):
    return NODES[1 - NODES.index(node)]


class GuestSeries:
    """One guest of one peer: booted once, moved for each pair of storage bandwidth and dirty rate."""

    def __init__(self, bench, peer_class, ram_mib):
        self._bench = bench
        self._spec = guest.Spec(ram_mib)
        self._peer = peer_class(bench, self._spec)
        self._node = self._checksum = self._used = None

    @property
    def is_up(self):
        return self._node is not None

    def start(self):
        self._bench.storage.throttle(0)
        self._bench.nodes.prepare()
        self._node = self._peer.start()
        guest.fill(self._spec)
        guest.work(0)
        self._checksum = guest.checksum()
        self._used = guest.used_mib(self._spec)

    def end(self):
        self._bench.storage.throttle(0)
        self._node = None
        self._peer.remove()

    def case(self, storage_mb_s, dirty_mb_s, refused=None):
        """Measures; never fails, but tells that it failed. REFUSED: it does so without trying."""
        plan = self._bench.plan
        wanted = plan.runs_of(self._peer.name, storage_mb_s)
        case = {"peer": self._peer.name, "ram_mib": self._spec.ram_mib,
                "filled_mib": self._spec.filled_mib, "used_mib": self._used,
                "dirty_mb_s": dirty_mb_s, "storage_mb_s": storage_mb_s, "rounds": 1, "runs": 0,
                "failed": None}
        runs = []
        try:
            if refused:
                raise BenchError(refused)
            if not self.is_up:
                self.start()
            case["used_mib"] = self._used
            self._bench.storage.throttle(storage_mb_s)
            guest.work(dirty_mb_s)
            for number in range(wanted):
                runs.append(self._run(number < plan.work_runs))
                say(f"    {_brief(runs[-1])}")
            self._check_memory()
        except EXPECTED as error:
            case["failed"] = " ".join(str(error).split()) or repr(error)
            case["traceback"] = traceback.format_exc()
        return case | summary(runs)

    def _check_memory(self):
        found = guest.checksum()
        if found != self._checksum:
            raise BenchError("the guest's memory changed")

    def _run(self, with_work):
        plan, target = self._bench.plan, other(self._node)
        calm = plan.calm if with_work else SHORT_CALM
        self._peer.prepare(target)
        with Probe(f"{self._bench.build}/tests/bench/udp-probe", guest.IP) as probe, \
                CpuTime(self._spec) if with_work else nullcontext() as cpu:
            time.sleep(PROBE_SECONDS + calm)
            storage_module.flush(self._bench.nodes)
            before = self._bench.storage.counters()
            move, told = self._peer.move(self._node, target)
            self._node = target
            moved = self._counted(before)
            until = self._stop_at(move, with_work)
            time.sleep(max(0.0, until - time.time()))
        found = measure.figures(probe.seen, move, calm) | moved | {"told": told}
        if with_work:
            found |= measure.lost_work(probe.seen, move, calm, plan.window, until)
            found |= measure.lost_cpu(cpu, move, calm, plan.window, until)
        return found

    def _stop_at(self, move, with_work):
        """When the probe may end."""
        least = time.time() + measure.AFTER_SECONDS + 0.1
        if not with_work:
            return least
        window = move.asked + self._bench.plan.window
        if self._bench.plan.settle is not None:
            window = min(window, move.settled + self._bench.plan.settle)
        return max(least, window)

    def _counted(self, before):
        storage_module.flush(self._bench.nodes)
        read, written = self._bench.storage.counters()
        return {"read_mib": round((read - before[0]) / MIB, 1),
                "written_mib": round((written - before[1]) / MIB, 1)}


def _brief(run):
    text = f"blackout {run['blackout_ms']:.1f} ms, total {run['total_s']:.1f} s"
    if "lost_work_s" in run:
        text += f", lost work {run['lost_work_s']:.2f} s, CPU time {run['lost_cpu_s']:.2f} s"
    return text


def percentile(values, share):
    """The smallest value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def spread(values):
    if not values:
        return None
    return {"p50": statistics.median(values), "p99": percentile(values, 99), "max": max(values)}


def mean(runs, key):
    values = [run[key] for run in runs if run.get(key) is not None]
    return round(statistics.fmean(values), 3) if values else None


def together(known, case):
    """The rounds of a case that are known, and one more."""
    return known | case | summary(known["each"] + case["each"]) | {"rounds": known["rounds"] + 1}


def summary(runs):
    faults = [run["told"]["faults"] for run in runs if run["told"].get("faults")]
    return {
        "runs": len(runs),
        "blackout_ms": spread([run["blackout_ms"] for run in runs]),
        "guest_blackout_ms": spread([run["guest_blackout_ms"] for run in runs]),
        "idle_gap_ms": spread([run["idle_gap_ms"] for run in runs]),
        "cold_ms": spread([run["cold_ms"] for run in runs if run["cold_ms"] is not None]),
        "total_s": mean(runs, "total_s"), "written_mib": mean(runs, "written_mib"),
        "read_mib": mean(runs, "read_mib"), "lost_work_s": mean(runs, "lost_work_s"),
        "lost_cpu_s": mean(runs, "lost_cpu_s"),
        "rate_after": mean(runs, "rate_after"),
        "probe_late_in_blackout_ms": max((run["probe_late_in_it_ms"] for run in runs), default=None),
        "worst_probe_late_us": max((run["probe"]["worst_late_us"] for run in runs), default=None),
        "faults": {key: max(each[key] for each in faults) for key in faults[0]} if faults else None,
        "each": runs,
    }
