# SPDX-License-Identifier: GPL-2.0-or-later
"""What a client of the demo's guest sees."""

import json
import socket
import subprocess
import time
from pathlib import Path

PROBE = Path(__file__).resolve().parents[1] / "lab/probe"
CONNECT_SECONDS = 0.25
ANSWER_SECONDS = 1
STEP_SECONDS = 0.02
END_SECONDS = 30


class Probe:
    """tests/lab/probe: one TCP connection, a question every millisecond, until end()."""

    def __init__(self, ip):
        self._process = subprocess.Popen([str(PROBE), ip, "--until-stdin-eof"],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self):
        out, _ = self._process.communicate(timeout=END_SECONDS)
        return json.loads(out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def boot_of(ip, port):
    """The boot id of the guest that answers, or None."""
    try:
        with socket.create_connection((ip, port), timeout=CONNECT_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(b"c\n")
            words = connection.makefile("r").readline().split()
    except OSError:
        return None
    return words[2] if len(words) > 2 else None


def first_answer(ip, port, seconds):
    """When the guest answers (Unix time), and its boot id; None after SECONDS of silence."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        boot = boot_of(ip, port)
        if boot:
            return time.time(), boot
        time.sleep(STEP_SECONDS)
    return None
