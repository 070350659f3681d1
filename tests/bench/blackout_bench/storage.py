# SPDX-License-Identifier: GPL-2.0-or-later
"""The shared storage: a loop device whose bandwidth the kernel limits, and its counters.

The block device's own cgroup limits (blkio.throttle, cgroup v1) are set in the root cgroup, to which
writeback belongs too, so that direct and buffered I/O of all processes are limited alike; reads and
writes each have the whole limit. The backing file is in memory and written once before, so that
without a limit the storage is as fast as memory and nothing is limited twice.
"""

import os
import re
import subprocess
from pathlib import Path

from errors import BenchError
from loopdev import LoopDevice
from nodes import NODES, SHARED

CGROUP = Path("/sys/fs/cgroup/blkio")
SECTOR = 512
MIB = 1 << 20
DIRECTIONS = ("read", "write")


class Storage:
    """From creation to close()."""

    def __init__(self, folder, size_mib):
        path = Path(folder) / f"vmferry-bench-{os.getpid()}.img"
        if not (CGROUP / "blkio.throttle.write_bps_device").exists():
            raise BenchError(f"{CGROUP} has no blkio.throttle.*: storage cannot be throttled")
        self.device = LoopDevice(path, size_mib * MIB)
        self._name = os.path.basename(
            os.path.realpath(f"/sys/dev/block/{self.device.major}:{self.device.minor}"))
        with open(path, "r+b") as file:
            for _ in range(size_mib):
                file.write(bytes(MIB))
        path.unlink()  # the device has it; whatever ends us, it goes with us
        self.throttle(0)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E",
                        "nodiscard,lazy_itable_init=0,lazy_journal_init=0", f"/dev/{self._name}"],
                       check=True, stdout=subprocess.DEVNULL)
        self.description = f"ext4 on {self._name}, its file in {folder} ({size_mib} MiB)"

    def close(self):
        self.throttle(0)
        self.device.close()

    def throttle(self, mb_s):
        """MB (10^6 bytes) a second, reading and writing each; 0 = no limit."""
        for direction in DIRECTIONS:
            (CGROUP / f"blkio.throttle.{direction}_bps_device").write_text(
                f"{self.device.major}:{self.device.minor} {mb_s * 1000000}\n", encoding="ascii")

    def counters(self):
        """Bytes read and written so far, as the kernel counts them at the block device."""
        fields = Path(f"/sys/block/{self._name}/stat").read_text(encoding="ascii").split()
        return int(fields[2]) * SECTOR, int(fields[6]) * SECTOR


def flush(nodes):
    """What is only in the page cache counts as written once it is written."""
    nodes.run(NODES[0], "sync", "-f", SHARED)


def validate(nodes, storage, mb_s, quick):
    """Sets the limit and measures what dd gets, in MB/s. A limit that does not hold is an error."""
    storage.throttle(mb_s)
    mib = 2 * mb_s or 512  # 2 s: the kernel's first slice of time is a tenth of one
    file = f"{SHARED}/validation"
    steps = {"write_direct": (["if=/dev/zero", f"of={file}", "oflag=direct"], mib),
             "read_direct": ([f"if={file}", "of=/dev/null", "iflag=direct"], mib)}
    if not quick:
        steps |= {"write_buffered": (["if=/dev/zero", f"of={file}", "conv=fsync"], mib),
                  "read_cold": ([f"if={file}", "of=/dev/null"], mib)}
    found = {"storage_mb_s": mb_s}
    for name, (options, count) in steps.items():
        if name == "read_cold":
            nodes.run(NODES[0], "dd", f"if={file}", "iflag=nocache", "count=0")
        found[name] = _dd(nodes, [*options, "bs=1M", f"count={count}"])
    nodes.run(NODES[0], "rm", file)
    measured = [value for key, value in found.items() if key != "storage_mb_s"]
    found["ok"] = not mb_s or all(0.75 * mb_s <= value <= 1.1 * mb_s for value in measured)
    return found


def _dd(nodes, options):
    told = nodes.run(NODES[0], "env", "LC_ALL=C", "dd", *options).stderr
    match = re.search(r"(\d+) bytes .* copied, ([\d.e+-]+) s", told)
    if not match:
        raise BenchError(f"dd said: {told}")
    return round(int(match[1]) / float(match[2]) / 1e6, 1)
