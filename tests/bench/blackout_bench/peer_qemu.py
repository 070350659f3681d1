# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-save: QEMU's own save and load, by the best script an admin could write.

The target's QEMU waits already, nothing limits the bandwidth, and no cluster manager is asked:
stop, `migrate exec:dd` to the storage and fsync, `migrate-incoming exec:cat`, and the guest runs.
The save goes around the page cache (oflag=direct: faster than cat with fsync here), and so what is
read comes from storage, as it would on another computer.
"""

import time

import guest
from cluster import wait_for
from measure import Move
from nodes import NODES, SHARED
from qmp import Qmp

SAVE_SECONDS = 600
REST_SECONDS = 5
FILE = f"{SHARED}/save/qemu-save"
TAP = "bench0"
RUN = "/run/bench"


class QemuSave:
    """The VM without a manager: a QEMU in one node, and for a move another one in the other."""

    name = "qemu-save"

    def __init__(self, bench, spec):
        self._nodes, self._spec = bench.nodes, spec
        self._monitors = {}

    def start(self):
        self._launch("n1")
        return "n1"

    def prepare(self, target):
        """Before a move is asked for."""
        self._launch(target, incoming=True)

    def move(self, source, target):
        old, new = self._monitors[source], self._monitors[target]
        asked = time.time()
        old.do("stop")
        old.do("migrate", uri=f"exec:dd of={FILE} bs=1M iflag=fullblock oflag=direct conv=fsync "
               f"status=none && touch {FILE}.done")
        old.wait_migrated(SAVE_SECONDS)
        done = self._nodes.root(source) / f"{FILE}.done".lstrip("/")
        wait_for("dd to end", done.exists, SAVE_SECONDS, 0.001)
        new.do("migrate-incoming", uri=f"exec:cat {FILE}")
        new.wait_migrated(SAVE_SECONDS)
        resumed = time.time()
        new.do("cont")  # it was paused when it was saved
        new.do("announce-self", initial=50, max=550, rounds=5, step=100)
        settled = time.time()
        told = old.do("query-migrate")["ram"]
        self._end(source)
        self._nodes.run(target, "rm", "-f", FILE, f"{FILE}.done")
        return Move(asked, settled, resumed), {"transferred_mib": round(told["transferred"] / (1 << 20), 1)}

    def remove(self):
        for node in list(self._monitors):
            self._end(node)
        for node in NODES:
            self._nodes.run(node, "rm", "-f", FILE, f"{FILE}.done")

    def _launch(self, node, incoming=False):
        self._nodes.run(node, "mkdir", "-p", RUN)
        self._nodes.run(node, "ip", "tuntap", "add", TAP, "mode", "tap")
        self._nodes.run(node, "ip", "link", "set", TAP, "master", "br0", "up")
        self._nodes.run(node, *self._command_line(), *(["-incoming", "defer"] if incoming else []))
        monitor = Qmp(self._nodes.root(node) / f"{RUN}/qmp.sock".lstrip("/"))
        self._monitors[node] = monitor
        monitor.do("migrate-set-capabilities",
                   capabilities=[{"capability": "events", "state": True}])
        monitor.do("migrate-set-parameters", **{"max-bandwidth": 0})

    def _end(self, node):
        monitor = self._monitors.pop(node)
        try:
            monitor.do("quit")
        finally:
            monitor.close()
            pid = f"{RUN}/qemu.pid"
            wait_for("QEMU to end", lambda: not (self._nodes.root(node) / pid.lstrip("/")).exists(), 60,
                     0.02)
            self._nodes.run(node, "ip", "link", "del", TAP)

    @staticmethod
    def _boot():
        options = {"kernel": "-kernel", "initrd": "-initrd", "cmdline": "-append"}
        return [word for key, value in guest.kind.boot.items() for word in (options[key], value)]

    def _command_line(self):
        return [guest.qemu(), "-daemonize", "-pidfile", f"{RUN}/qemu.pid",
                "-name", f"guest={guest.NAME},debug-threads=on", "-uuid", self._spec.uuid,
                "-machine", f"type={guest.MACHINE},accel=tcg,dump-guest-core=off",
                "-cpu", guest.CPU, "-smp", "cpus=1", "-m", f"size={self._spec.ram_mib}M", "-nodefaults",
                "-no-user-config", "-display", "none", "-rtc", "base=utc",
                "-qmp", f"unix:{RUN}/qmp.sock,server=on,wait=off",
                *self._boot(),
                "-object", "rng-random,id=random,filename=/dev/urandom",
                "-device", "virtio-rng-pci,rng=random,bus=pcie.0,addr=0x2",
                "-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=net,mac={guest.MAC},romfile=,bus=pcie.0,addr=0x3",
                "-serial", "null"]


class Rest(QemuSave):
    """The same guest, left alone."""

    name = "rest"

    def prepare(self, target):
        pass

    def move(self, source, target):
        asked = time.time()
        time.sleep(REST_SECONDS)
        return Move(asked, time.time()), {}
