# SPDX-License-Identifier: GPL-2.0-or-later
"""The one JSON object of a run, and its file."""

import json
import os
import platform
import subprocess
import time
from pathlib import Path

import guest
from case import together

BUSY = "VMFERRY_BENCH_BUSY"  # busy_share(), before there was a lab
KEY = ("peer", "ram_mib", "storage_mb_s", "dirty_mb_s")


class Results:
    """Cases as they come; each is in the file, if there is one, as soon as it is known."""

    def __init__(self, plan):
        self._path = Path(plan.out) if plan.out else None
        self._tried = set()
        self.all = {"bench": "blackout", "machine": machine(), "plan": plan.as_json(),
                    "storage": {"description": None, "validation": []}, "cases": []}
        if self._path and self._path.exists():
            self._take_over(json.loads(self._path.read_text(encoding="utf-8")))

    def _find(self, key):
        return next((case for case in self.all["cases"] if tuple(case[name] for name in KEY) == key), None)

    def wants(self, turn, *key):
        """Whether this round of the case, counted from 0, is to be measured. What failed is not tried again in
        the same run: it is told."""
        known = self._find(key)
        if known is None or known["failed"]:
            return key not in self._tried
        return known["rounds"] <= turn

    def add(self, case):
        key = tuple(case[name] for name in KEY)
        known = self._find(key)
        if known is not None:
            self.all["cases"].remove(known)
            case = case if known["failed"] else together(known, case)
        self._tried.add(key)
        self.all["cases"].append(case)
        self._write()

    def add_validation(self, found):
        kept = [old for old in self.all["storage"]["validation"]
                if old["storage_mb_s"] != found["storage_mb_s"]]
        self.all["storage"]["validation"] = kept + [found]
        self._write()

    def failed(self):
        return [case for case in self.all["cases"] if case["failed"]]

    def _take_over(self, old):
        """Figures of another computer or another QEMU are not of one run with ours."""
        for name in ("cpu", "cpus", "qemu", "kernel"):
            if old["machine"][name] != self.all["machine"][name]:
                raise SystemExit(f"blackout: {self._path} was measured with another {name}: "
                                 f"{old['machine'][name]}")
        if old["plan"]["quick"] != self.all["plan"]["quick"]:
            raise SystemExit(f"blackout: {self._path} and this are not both --quick, or both not")
        if old["plan"].get("guest", "linux") != self.all["plan"]["guest"]:
            raise SystemExit(f"blackout: {self._path} was measured with another guest")
        for case in old["cases"]:
            case.setdefault("rounds", 1)  # as files before there were rounds have it
        self.all["cases"] = old["cases"]
        self.all["storage"] = old["storage"]

    def _write(self):
        if self._path is None:
            return
        scratch = self._path.with_name(self._path.name + ".new")
        scratch.write_text(json.dumps(self.all, indent=1) + "\n", encoding="utf-8")
        os.replace(scratch, self._path)


def _first_line(*argv):
    try:
        told = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return None
    return (told.splitlines() or [None])[0]


def busy_share(seconds=1.0):
    """The share of this machine's CPU time that is used, by anybody, while we only wait."""
    def times():
        fields = Path("/proc/stat").read_text(encoding="ascii").split()[1:9]
        numbers = [int(field) for field in fields]
        return sum(numbers), numbers[3] + numbers[4]  # idle, iowait
    before = times()
    time.sleep(seconds)
    after = times()
    return round(1 - (after[1] - before[1]) / max(1, after[0] - before[0]), 3)


def machine():
    """What the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.partition(":")[2].strip() for line in cpuinfo.splitlines()
                  if line.startswith("model name")), "unknown")
    memory = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
    return {"cpu": model, "cpus": os.cpu_count(), "memory_mib": int(memory) // 1024,
            "kernel": platform.release(), "qemu": _first_line(guest.qemu(), "--version"),
            "libvirt": _first_line("libvirtd", "--version"),
            "pacemaker": _first_line("pacemakerd", "--version"), "accelerator": "tcg",
            "busy_before": float(os.environ.get(BUSY, "nan"))}
