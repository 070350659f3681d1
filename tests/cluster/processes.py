# SPDX-License-Identifier: GPL-2.0-or-later
"""The processes of a lab's nodes, as the machine itself sees them: nothing that runs in a node is asked."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

import control
from layout import Layout


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def arguments(pid):
    """Of a process, or [] where there is none (any more)."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def status_of(pid):
    """The lines of its /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return {key: value.strip() for key, value in (line.split(":", 1) for line in file)}


def parent(pid):
    """Of a process, or None where there is none (any more)."""
    try:
        return int(status_of(pid)["PPid"])
    except OSError:
        return None


def targets_of(pid):
    """What its descriptors are."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


def namespace(pid):
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def program(pid):
    found = arguments(pid)
    return os.path.basename(found[0]) if found else ""


def is_stopped(pid):
    try:
        return status_of(pid)["State"].startswith("T")
    except OSError:
        return False


def qemu_of(argv):
    """The VM whose QEMU has these arguments, or None."""
    if not argv or "qemu-system" not in argv[0]:
        return None
    for option, value in zip(argv, argv[1:]):
        if option == "-name":
            return value.split(",")[0].removeprefix("guest=")
    return None


class Machines:
    """Which node a process belongs to."""

    def __init__(self, lab):
        self.layout = Layout(lab)
        self.nodes = {}  # PID namespace: node, of those that are on
        self.first = {}  # PID namespace: its first process
        self.names = set()
        self.refresh()

    def state(self):
        return control.request(self.layout, "state")["nodes"]

    def refresh(self):
        state = self.state()
        self.names = set(state)
        on = {name: node["pid"] for name, node in state.items() if node["on"]}
        self.nodes = {namespace(pid): name for name, pid in on.items()}
        self.first = {namespace(pid): pid for pid in on.values()}

    def alive(self, space):
        return namespace(self.first[space]) == space

    def node_of(self, pid):
        space = namespace(pid)
        if space not in self.nodes:
            self.refresh()
        return self.nodes.get(space)

    def find(self, node, wanted, vm=None):
        """Pids in NODE of a program ("vmferryd", "vmferry-saver", "vmferry-pager"), or of "qemu".

        A child that is about to become another program still has its parent's arguments: it is left out."""
        self.refresh()
        found = []
        for pid in pids():
            if self.nodes.get(namespace(pid)) != node:
                continue
            argv = arguments(pid)
            if wanted == "qemu":
                good = qemu_of(argv) is not None and vm in (None, qemu_of(argv))
            else:
                good = argv and os.path.basename(argv[0]) == wanted
            if good:
                found.append(pid)
        return [pid for pid in found if parent(pid) not in found]

    def stopped(self, node):
        """What stands still in NODE by SIGSTOP: its pid and its arguments."""
        self.refresh()
        return [(pid, arguments(pid)) for pid in pids()
                if self.nodes.get(namespace(pid)) == node and is_stopped(pid)]

    def root(self, node):
        """The node's root directory."""
        return Path(f"/proc/{self.state()[node]['pid']}/root")
