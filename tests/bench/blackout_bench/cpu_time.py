# SPDX-License-Identifier: GPL-2.0-or-later
"""The CPU time that a guest's vCPU has got, over a move from one QEMU to the next."""

import threading
import time
from bisect import bisect_right
from pathlib import Path

import guest

LOOK_SECONDS = 0.1
FIND_LOOKS = 5  # so many looks until one for a new QEMU: what it has run until then counts all the same
VCPU = "CPU "   # how QEMU calls the thread, if it is told to name its threads


def _vcpu(pid):
    """The thread's file, or None where there is none yet."""
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        if (task / "comm").read_text(encoding="ascii").startswith(VCPU):
            return task / "schedstat"
    return None


class CpuTime:
    """Looks from entering to leaving, ten times a second."""

    def __init__(self, spec):
        self._spec = spec
        self._files, self._ns = {}, {}
        self._times, self._sums = [], []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def at(self, when):
        """Seconds of CPU time until WHEN, linear between two looks."""
        after = min(max(1, bisect_right(self._times, when)), len(self._times) - 1)
        first, last = self._times[after - 1], self._times[after]
        part = min(1.0, max(0.0, (when - first) / (last - first)))
        return self._sums[after - 1] + part * (self._sums[after] - self._sums[after - 1])

    def _run(self):
        looks = 0
        while not self._end.wait(LOOK_SECONDS):
            if looks % FIND_LOOKS == 0:
                self._find()
            looks += 1
            for pid, file in self._files.items():
                self._look(pid, file)
            self._times.append(time.time())
            self._sums.append(sum(self._ns.values()) / 1e9)

    def _find(self):
        for pid in guest.processes(self._spec):
            try:
                file = self._files.get(pid) or _vcpu(pid)
            except OSError:  # it ended meanwhile
                continue
            if file is not None:
                self._files[pid] = file

    def _look(self, pid, file):
        try:
            self._ns[pid] = int(file.read_text(encoding="ascii").split()[0])
        except OSError:  # it has ended: what it had is what it will have had
            pass
