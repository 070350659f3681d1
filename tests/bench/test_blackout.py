#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests/bench/blackout computes from what it saw: known input, known figures."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
TESTS = Path(__file__).resolve().parents[1]
for folder in (TESTS / "cluster", TESTS / "lab", TESTS / "bench/blackout_bench"):
    sys.path.insert(0, str(folder))

import case
import measure
import options
import peers
import ratios
import report
import results
from cpu_time import CpuTime
from errors import BenchError
from probe import RECORD, Seen

START = 1000.0  # Unix time of the first answer
RATE = 100      # pages in a millisecond


def record(at_ms, work, clock_ms, gap_ms=1, boot=7, counter=None):
    """An answer that came AT_MS after START."""
    ns = 1000000
    counter = int(clock_ms) if counter is None else counter
    return RECORD.pack(0, 0, int(work), int(clock_ms * ns), 0, counter, int(gap_ms * ns), boot,
                       int((START * 1000 + at_ms) * ns))


def seen_of(records, late=()):
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(records))
        file.flush()
        return Seen(file.name, {"interval_ms": 1, "worst_late_us": 0, "late": late})


def moved(pause=2000, stalled=0, before=5000, after=40000):
    """An answer each ms; a pause of the guest and its clock, then a stall that its clock sees."""
    silent = pause + stalled
    early = [record(ms, ms * RATE, ms) for ms in range(before)]
    late = [record(ms + silent, ms * RATE, ms + stalled, stalled + 1 if ms == before else 1)
            for ms in range(before, after)]
    return seen_of(early + late)


class Figures(unittest.TestCase):
    move = measure.Move(START + 4.5, START + 8)

    def test_blackout_is_the_silence_without_the_interval(self):
        found = measure.figures(moved(2000), self.move, 2.0)
        self.assertAlmostEqual(found["blackout_ms"], 2000, delta=0.01)
        self.assertAlmostEqual(found["idle_gap_ms"], 0, delta=0.01)
        self.assertAlmostEqual(found["blackout_begins_s"], 0.499, delta=0.001)
        self.assertAlmostEqual(found["total_s"], 3.5)

    def test_the_guests_clock_sees_the_stall_and_tells_the_pause(self):
        found = measure.figures(moved(2000, 300), self.move, 2.0)
        self.assertAlmostEqual(found["blackout_ms"], 2300, delta=0.01)
        self.assertAlmostEqual(found["guest_clock_stopped_ms"], 2000, delta=0.01)
        self.assertAlmostEqual(found["guest_longest_gap_ms"], 301, delta=0.01)
        self.assertAlmostEqual(found["guest_blackout_ms"], 2301, delta=0.01)

    def test_what_a_guest_needs_once_it_runs(self):
        self.assertIsNone(measure.figures(moved(2000), self.move, 2.0)["cold_ms"])
        move = measure.Move(self.move.asked, self.move.settled, START + 6.9)
        self.assertAlmostEqual(measure.figures(moved(2000), move, 2.0)["cold_ms"], 100, delta=0.01)

    def test_a_late_probe_is_told(self):
        calm = [record(ms, ms, ms) for ms in range(4600)]
        rest = [record(ms, ms, ms) for ms in range(4650, 20000)]
        seen = seen_of(calm + rest, [[START + 4.640, 0.030], [START + 6, 0.005]])
        found = measure.figures(seen, self.move, 2.0)
        self.assertAlmostEqual(found["blackout_ms"], 50, delta=0.01)
        self.assertAlmostEqual(found["probe_late_in_it_ms"], 30, delta=0.01)
        self.assertAlmostEqual(found["silences"][0][0], 0.099, delta=0.001)

    def test_silence_to_the_end_is_no_blackout_but_a_failure(self):
        seen = seen_of([record(ms, ms, ms) for ms in range(5000)])
        with self.assertRaisesRegex(BenchError, "went silent"):
            measure.figures(seen, self.move, 2.0)

    def test_another_boot_or_an_older_memory_is_a_failure(self):
        calm = [record(ms, ms, ms) for ms in range(1000)]
        with self.assertRaisesRegex(BenchError, "booted"):
            seen_of(calm + [record(1001, 0, 1001, boot=8)])
        with self.assertRaisesRegex(BenchError, "went back"):
            seen_of(calm + [record(1001, 0, 1001, counter=5)])

    def test_answers_may_overtake_each_other(self):
        calm = [record(ms, ms, ms) for ms in range(1000)]
        calm[500], calm[501] = record(501, 500, 500), record(500, 501, 501)
        self.assertEqual(len(seen_of(calm).came), 1000)


class LostWork(unittest.TestCase):
    move = measure.Move(START + 4.5, START + 8)

    def test_a_pause_loses_what_it_lasts(self):
        found = measure.lost_work(moved(2000), self.move, 3.0, 30.0, START + 40)
        self.assertAlmostEqual(found["lost_work_s"], 2.0, delta=0.01)
        self.assertAlmostEqual(found["rate_after"], 1.0, delta=0.01)
        self.assertEqual(found["rate_pages_s"], RATE * 1000)

    def test_a_slow_guest_loses_its_share(self):
        slow = [record(ms, min(ms, 5000) * RATE + max(0, ms - 5000) * RATE / 2, ms)
                for ms in range(40000)]
        move = measure.Move(START + 5, START + 6)
        found = measure.lost_work(seen_of(slow), move, 3.0, 30.0, START + 40)
        self.assertAlmostEqual(found["lost_work_s"], 15.0, delta=0.02)
        self.assertAlmostEqual(found["rate_after"], 0.5, delta=0.01)

    def test_a_window_that_is_cut_counts_the_rest_as_none(self):
        found = measure.lost_work(moved(2000), self.move, 3.0, 30.0, START + 12)
        self.assertAlmostEqual(found["lost_work_s"], 2.0, delta=0.01)
        self.assertAlmostEqual(found["window_s"], 7.5)


class LostCpu(unittest.TestCase):
    def test_what_the_guest_could_not_run(self):
        """Nine tenths of the time before, and half of it for 4 s from when the move is asked for."""
        cpu = CpuTime(None)
        cpu._times = [START + tenth / 10 for tenth in range(400)]
        cpu._sums = [0.9 * tenth / 10 - 0.4 * min(4.0, max(0.0, tenth / 10 - 5)) for tenth in range(400)]
        found = measure.lost_cpu(cpu, measure.Move(START + 5, START + 8), 3.0, 30.0, START + 39)
        self.assertAlmostEqual(found["cpu_share"], 0.9, delta=0.001)
        self.assertAlmostEqual(found["lost_cpu_s"], 1.6 / 0.9, delta=0.01)


def case_of(peer, blackout, ram=512, storage=0, lost=None, failed=None):
    run = {"blackout_ms": blackout, "guest_blackout_ms": blackout, "idle_gap_ms": 1.0, "total_s": 1.0,
           "written_mib": 300.0, "read_mib": 300.0, "probe": {"worst_late_us": 5}, "told": {},
           "probe_late_in_it_ms": 0.1, "cold_ms": None,
           "lost_work_s": lost, "lost_cpu_s": lost}
    return {"peer": peer, "ram_mib": ram, "filled_mib": ram // 2, "used_mib": 250.0, "dirty_mb_s": 0,
            "storage_mb_s": storage, "rounds": 1, "failed": failed} | case.summary([run])


class Summary(unittest.TestCase):
    def test_percentiles(self):
        self.assertEqual(case.spread([3, 1, 2]), {"p50": 2, "p99": 3, "max": 3})
        self.assertEqual(case.spread(list(range(1, 201)))["p99"], 198)
        self.assertIsNone(case.spread([]))

    def test_ratios(self):
        cases = [case_of("virtualdomain-save", 4500.0, storage=125), case_of("vmferry", 20.0, lost=0.1),
                 case_of("vmferry-linear", 20.0, lost=0.4), case_of("qemu-save", 2000.0),
                 case_of("vmferry", 30.0, ram=4096)]
        found = {ratio["what"]: ratio["value"] for ratio in ratios.derive(cases)}
        self.assertEqual(found["qemu-save's blackout / vmferry's"], 100)
        self.assertEqual(found["vmferry's lost work / vmferry-linear's"], 0.25)
        self.assertEqual(found["vmferry: blackout of 4096 MiB / of 512 MiB"], 1.5)
        self.assertEqual(found["vmferry: written / RAM that is not zero"], 1.2)
        self.assertAlmostEqual(found["virtualdomain-save: blackout / (2 x used RAM / bandwidth)"],
                               4500 / (2 * 250 * 1.048576 / 125 * 1000), places=3)

    def test_a_failed_case_is_in_the_text_but_in_no_ratio(self):
        cases = [case_of("vmferry", 20.0), case_of("qemu-save", 2000.0, failed="it broke")]
        self.assertFalse([r for r in ratios.derive(cases) if "qemu" in r["what"]])
        told = "\n".join(report.text({"machine": results.machine(), "plan": {"guest": "linux"}, "cases": cases,
                                      "storage": {"description": "x", "validation": []}}, []))
        self.assertRegex(told, "FAILED qemu-save .*it broke")


class Plans(unittest.TestCase):
    def test_each_peer_is_in_the_quick_plan(self):
        plan = options.parse(["--quick"])
        quick = {peer for _, peer, _ in plan.cases()}
        self.assertEqual(quick, {name for name in peers.BY_NAME if peers.is_usual(name, 0)})
        self.assertEqual(len(quick), 5)

    def test_runs_by_peer(self):
        plan = options.parse(["--runs", "3,vmferry=30", "--dirty", "0"])
        self.assertEqual((plan.runs["vmferry"], plan.runs["qemu-save"]), (30, 3))

    def test_what_is_in_the_file_is_not_measured_again_unless_it_failed(self):
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "out.json")
            first = results.Results(options.parse(["--out", file]))
            first.add(case_of("vmferry", 20.0))
            first.add(case_of("qemu-save", 1.0, failed="it broke"))
            again = results.Results(options.parse(["--out", file]))
            self.assertFalse(again.wants(0, "vmferry", 512, 0, 0))
            self.assertTrue(again.wants(0, "qemu-save", 512, 0, 0))
            again.add(case_of("qemu-save", 2.0))
            kept = json.loads(Path(file).read_text(encoding="utf-8"))
            self.assertEqual(sorted(each["peer"] for each in kept["cases"]), ["qemu-save", "vmferry"])
            self.assertFalse(again.failed())

    def test_rounds_become_one_case(self):
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/kept.json"
            first = results.Results(options.parse(["--out", file, "--rounds", "2"]))
            first.add(case_of("vmferry", 20.0))
            self.assertTrue(first.wants(1, "vmferry", 512, 0, 0))
            first.add(case_of("vmferry", 40.0))
            kept = json.loads(Path(file).read_text(encoding="utf-8"))["cases"]
            self.assertEqual([(case["rounds"], case["runs"]) for case in kept], [(2, 2)])
            self.assertEqual(kept[0]["blackout_ms"]["p50"], 30.0)
            again = results.Results(options.parse(["--out", file, "--rounds", "3"]))
            self.assertFalse(again.wants(1, "vmferry", 512, 0, 0))
            self.assertTrue(again.wants(2, "vmferry", 512, 0, 0))

    def test_a_round_that_failed_is_told_and_not_tried_again(self):
        kept = results.Results(options.parse(["--rounds", "3"]))
        kept.add(case_of("vmferry", 20.0))
        kept.add(case_of("vmferry", 20.0, failed="it broke"))
        self.assertFalse(kept.wants(2, "vmferry", 512, 0, 0))
        self.assertEqual(kept.failed()[0]["failed"], "it broke")


class BareGuest(unittest.TestCase):
    def test_it_writes_nothing(self):
        self.assertEqual(options.parse(["--guest", "bare"]).dirty, [0])
        with contextlib.redirect_stderr(io.StringIO()) as told, self.assertRaises(SystemExit):
            options.parse(["--guest", "bare", "--dirty", "0,10"])
        self.assertIn("--guest bare needs --dirty 0", told.getvalue())


if __name__ == "__main__":
    unittest.main()
