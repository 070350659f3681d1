#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs tgtd with one target: iscsi_target.py ADDRESS TARGET FILE... ; files become LUN 1, 2, ...

Says so with /run/tgtd/ready, and stays as long as tgtd does.
"""
import signal
import subprocess
import sys
import time
from pathlib import Path

from namespaces import die_with_parent

READY = Path("/run/tgtd/ready")


def admin(*arguments):
    command = ["tgtadm", "--lld", "iscsi", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def must(*arguments):
    result = admin(*arguments)
    if result.returncode != 0:
        sys.exit(f"tgtadm {' '.join(arguments)}: {result.stderr.strip()}")


def wait_for(daemon, seconds):
    deadline = time.monotonic() + seconds
    while admin("--op", "show", "--mode", "target").returncode != 0:
        if daemon.poll() is not None or time.monotonic() > deadline:
            sys.exit("tgtd does not answer")
        time.sleep(0.05)


def export(target, files):
    must("--op", "new", "--mode", "target", "--tid", "1", "--targetname", target)
    for number, path in enumerate(files, start=1):
        must("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", str(number),
             "--backing-store", path)
    must("--op", "bind", "--mode", "target", "--tid", "1", "--initiator-address", "ALL")


def main():
    address, target, *files = sys.argv[1:]
    daemon = subprocess.Popen(["tgtd", "-f", "--iscsi", f"portal={address}:3260"],
                              preexec_fn=die_with_parent)
    signal.signal(signal.SIGTERM, lambda *_: daemon.terminate())
    wait_for(daemon, 8)
    export(target, files)
    READY.touch()
    sys.exit(daemon.wait())


if __name__ == "__main__":
    main()
