# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest that all peers move: what it is made of, and what it is asked."""

import os
import socket
import subprocess
import uuid
from pathlib import Path

import cluster
from cluster import GUEST_PORT, wait_for
from errors import BenchError

NAME = "bench"
IP = "10.77.0.100"
MAC = "52:54:00:be:ac:01"
MACHINE = os.environ.get("VMFERRY_MACHINE") or "pc-q35-7.2"
CPU = "max"
FOLDER = "/srv/shared/guest"
ADDRESS = f"guest.ip={IP}/24"
BOOT_SECONDS = 90
REPLY_SECONDS = 600
QUESTION, ANSWER_BYTES = bytes(16), 64  # of echo.h
PAGE = 4096
CHUNK = 4 << 20


class Spec:
    """One VM: its size, and an identity of its own, so that its QEMU can be found."""

    def __init__(self, ram_mib):
        self.ram_mib = ram_mib
        self.uuid = str(uuid.uuid4())
        self.ram_bytes = ram_mib << 20  # vmferry adds some KiB under TCG, which the guest hardly sees

    @property
    def filled_mib(self):
        return self.ram_mib // 2


def qemu():
    return os.environ.get("VMFERRY_QEMU") or "/usr/bin/qemu-system-x86_64"


def pin_address():
    """The prober never has to ask for the guest's MAC: after a long blackout that would take up to a
    second more."""
    subprocess.run(["ip", "neigh", "replace", IP, "lladdr", MAC, "dev", "lan0", "nud", "permanent"],
                   check=True)


class Connection(cluster.Guest):
    """The line protocol by TCP."""

    def __init__(self):
        super().__init__(IP, BOOT_SECONDS)
        self.socket.settimeout(REPLY_SECONDS)


class BareConnection:
    """The line protocol by UDP, one request at a time. Nothing is lost on the lab's LAN."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((IP, GUEST_PORT))
        wait_for("the guest to answer", self._answers, BOOT_SECONDS, 0.05)
        self._socket.settimeout(REPLY_SECONDS)

    def _answers(self):
        self._socket.settimeout(0.5)
        try:
            self._socket.send(QUESTION)
            return len(self._socket.recv(1024)) == ANSWER_BYTES
        except OSError:  # it does not run yet
            return False

    def ask(self, line):
        self._socket.send(line.encode())
        answer = self._socket.recv(1024)
        while len(answer) == ANSWER_BYTES:  # to a question that was asked again before
            answer = self._socket.recv(1024)
        return answer.decode().split()

    def close(self):
        self._socket.close()


class Linux:
    """Debian's kernel and our program (tests/guest/guest.c)."""

    name = "linux"
    boot = {"kernel": f"{FOLDER}/vmlinuz", "initrd": f"{FOLDER}/initrd.img",
            "cmdline": f"console=ttyS0 quiet {ADDRESS}"}
    connect = Connection


class Bare:
    """No operating system (tests/guest/bare)."""

    name = "bare"
    boot = {"kernel": f"{FOLDER}/bare.bin", "cmdline": ADDRESS}
    connect = BareConnection


KINDS = {kind.name: kind for kind in (Linux, Bare)}
kind = Linux  # of all guests of this run


def choose(name):
    global kind
    kind = KINDS[name]


def request(line):
    """The guest's answer; an error is an exception."""
    guest = kind.connect()
    answer = guest.ask(line)
    guest.close()
    if answer[0] == "err":
        raise BenchError(f"the guest answers \"{line}\" with: {' '.join(answer)}")
    return answer


def fill(spec):
    request(f"fill {spec.filled_mib}")


def work(rate):
    request(f"compute {rate}")


def checksum():
    """Ends the work; the sum of the memory without what the work wrote. Fails where a page is
    older than the guest's other memory."""
    return request("worksum")[1]


def processes(spec):
    """The VM's QEMUs, as this machine sees them, by their memory: the largest first."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            argv = (entry / "cmdline").read_bytes().split(b"\0")
            if b"qemu" not in argv[0] or not any(spec.uuid.encode() in arg for arg in argv):
                continue
            resident = int((entry / "statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):  # it ended meanwhile
            continue
        found.append((resident, int(entry.name)))
    return [pid for _, pid in sorted(found, reverse=True)]


def used_mib(spec):
    """How much of the guest's RAM is not zero, by looking at QEMU's memory."""
    pids = processes(spec)
    if not pids:
        raise BenchError("the guest's QEMU was not found")
    start = _ram_start(pids[0], spec.ram_bytes)
    pages = 0
    with open(f"/proc/{pids[0]}/mem", "rb", buffering=0) as memory:
        for offset in range(0, spec.ram_bytes, CHUNK):
            memory.seek(start + offset)
            pages += _pages_not_zero(memory.read(min(CHUNK, spec.ram_bytes - offset)))
    return round(pages * PAGE / (1 << 20), 1)


def _ram_start(pid, size):
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="ascii").splitlines():
        first, _, last = line.split()[0].partition("-")
        if "rw" in line.split()[1] and int(last, 16) - int(first, 16) >= size:
            return _ram_in(int(first, 16), int(last, 16), size)
    raise BenchError("the guest's RAM was not found in QEMU's memory")


def _ram_in(first, last, size):
    """The kernel may show one mapping for RAM and its neighbour; RAM is aligned to 2 MiB."""
    start = (first + (2 << 20) - 1) & -(2 << 20)
    return start if start + size <= last else first


def _pages_not_zero(chunk):
    if not chunk.strip(b"\0"):
        return 0
    zero = bytes(PAGE)
    return sum(chunk[at:at + PAGE] != zero for at in range(0, len(chunk), PAGE))
