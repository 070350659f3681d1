# SPDX-License-Identifier: GPL-2.0-or-later
"""The outside probe: runs udp-probe, and works its records out."""

import json
import os
import struct
import subprocess
import tempfile
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path

from errors import BenchError

PORT = 7777
END_SECONDS = 60
RECORD = struct.Struct("<9Q")  # ProbeRecord in udp_probe.c
OFFSET_SECONDS = 1.0


class Probe:
    """Asks the guest at the address, from entering to leaving; then `seen` has what it saw."""

    def __init__(self, program, address, interval_ms=1):
        self._argv = [program, address, str(PORT)]
        self._interval_ms = interval_ms
        self.seen = None

    def __enter__(self):
        handle, self._path = tempfile.mkstemp(prefix="vmferry-bench-")
        os.close(handle)
        self._process = subprocess.Popen([*self._argv, self._path, str(self._interval_ms)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, kind, *_):
        try:
            out, _ = self._process.communicate(timeout=END_SECONDS)
            if kind is None and self._process.returncode != 0:
                raise BenchError("the probe failed")
            if kind is None:
                self.seen = Seen(self._path, json.loads(out))
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.communicate()
            os.unlink(self._path)


@dataclass
class Gap:
    """A silence: from the arrival of one answer to that of the next."""
    start: float
    end: float
    interval: float

    @property
    def blackout(self):
        """Seconds without the one interval that passes anyway."""
        return max(0.0, self.end - self.start - self.interval)


class Seen:
    """Answers in the order they came. Times are Unix times in seconds."""

    def __init__(self, path, summary):
        self.late = [(at - late, at) for at, late in summary.pop("late")]
        self.summary = summary
        self._interval = summary["interval_ms"] / 1000
        records = list(RECORD.iter_unpack(Path(path).read_bytes()))
        if len(records) < 100:
            raise BenchError(f"the probe got only {len(records)} answers")
        records.sort(key=lambda record: record[8])
        self.came = [record[8] / 1e9 for record in records]
        self._work = [record[2] for record in records]
        self._clock = [record[3] / 1e9 for record in records]
        self._gaps = [record[6] / 1e9 for record in records]
        self._wall_lags = [(record[8] - record[4]) / 1e9 for record in records]
        self._check(records)

    @staticmethod
    def _check(records):
        """The same guest, and its memory did not go back, whatever order the answers came in."""
        if len({record[7] for record in records}) != 1:
            raise BenchError("the guest was booted anew during the move")
        counters = [record[5] for record in sorted(records, key=lambda record: record[3])]
        if any(a > b for a, b in zip(counters, counters[1:])):
            raise BenchError("the guest's counter went back")

    def longest_gap(self, begin, end):
        """The longest silence that begins or ends between the two points in time."""
        if end > self.came[-1]:
            raise BenchError(f"the guest went silent {self.came[-1] - begin:.3f} s after the move "
                             f"was asked for, and was so {end - begin:.1f} s after it")
        return self.longest_gaps(begin, end, 1)[0]

    def longest_gaps(self, begin, end, count):
        """The longest silences between the two points in time, the longest first."""
        first, last = max(0, bisect_right(self.came, begin) - 1), bisect_left(self.came, end)
        gaps = [Gap(self.came[i], self.came[i + 1], self._interval)
                for i in range(first, min(last, len(self.came) - 1))]
        return sorted(gaps, key=lambda gap: gap.start - gap.end)[:count]

    def first_after(self, when):
        """When the first answer came from then on."""
        at = bisect_left(self.came, when)
        if at == len(self.came):
            raise BenchError("the guest did not answer any more")
        return self.came[at]

    def probe_late(self, gap):
        """Seconds of the silence in which the probe itself did not run."""
        return sum(max(0.0, min(gap.end, end) - max(gap.start, start)) for start, end in self.late)

    def work_at(self, when):
        """The guest's work, linear between two answers."""
        at = bisect_right(self.came, when)
        if at == 0 or at == len(self.came):
            return self._work[min(at, len(self._work) - 1)]
        before, after = self.came[at - 1], self.came[at]
        part = (when - before) / (after - before) if after > before else 1.0
        # Nothing is known of the work in a silence but its end: the work was done there.
        if after - before > 10 * self._interval:
            part = 0.0
        return self._work[at - 1] + part * (self._work[at] - self._work[at - 1])

    def rate(self, begin, end):
        return (self.work_at(end) - self.work_at(begin)) / (end - begin)

    def guest_gap(self, begin, end):
        """The longest time between two of the guest's ticks, by its own clock, told in this time."""
        first, last = bisect_left(self.came, begin), bisect_right(self.came, end)
        return max(self._gaps[first:last], default=0.0)

    def _answers(self, begin, end):
        found = range(bisect_left(self.came, begin), bisect_right(self.came, end))
        if not found:
            raise BenchError("no answers to compare clocks by")
        return found

    def clock_offset(self, begin, end):
        """How far the guest's monotonic clock is behind ours; the fastest answer tells best."""
        return min(self.came[i] - self._clock[i] for i in self._answers(begin, end))

    def wall_lag(self, begin, end):
        """How far its time of day is behind ours, in the same way."""
        return min(self._wall_lags[i] for i in self._answers(begin, end))

    def clock_stood_still(self, before, after):
        """Seconds that the guest's clock has missed between the two points in time."""
        return (self.clock_offset(after, after + OFFSET_SECONDS)
                - self.clock_offset(before - OFFSET_SECONDS, before))
