#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon that owns a VM lab: networks, iSCSI target, clock, power switch, and the nodes.

usage: vmlabd.py NAME PARENT-FD

Started by `vmlab up`, in a network and a mount namespace of its own. Until the lab is running, the end of
PARENT-FD ends the lab, too. However it ends, the kernel ends all it owns.
"""
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import images
import node_files
from places import NETWORKS, POWER_PORT, LabError, Places, address
from node import Node
from settings import Settings
from target import Target

from namespaces import die_with_parent  # of tests/lab, as what follows
from server import Daemon, Machines, log

CHRONY = """\
local stratum 4
allow 10.78.0.0/16
bindcmdaddress /
cmdport 0
pidfile {pidfile}
"""


class Lab(Machines):
    """All nodes and what is between them."""

    def __init__(self, places, settings, selector):
        super().__init__({name: Node(places, settings, name) for name in settings.names()}, selector)
        self._places = places
        self._settings = settings

    def build(self):
        images.hold(self._settings.image)
        make_networks()
        secret = self._write_secrets()
        self._target = Target(self._places, secret, sys.stdout)
        self._start_clock()
        common = {
            "authkey": secrets.token_bytes(256),
            "token": self._places.token.read_bytes(),
            "chap": self._places.chap.read_bytes(),
            "host_key": Path(make_key(self._places.directory / "host-key")).read_bytes(),
            "client_key": Path(make_key(self._places.key)).with_suffix(".pub").read_bytes(),
            "guest": Path(self._settings.guest),
        }
        for name, node in self.nodes.items():
            home = self._places.node(name)
            home.mkdir(parents=True)
            files = node_files.of_node(self._places.name, list(self.nodes), name, common)
            node_files.pack(files, home / "config.tar")
            node.make_disk(f"{self._settings.image}/root.img")

    def boot(self):
        for name in self.nodes:
            self.on(name)

    def on(self, name):
        node = self._node(name)
        if node.is_on():
            return
        node.boot()
        self._watch(node)
        log(f"{name}: on")

    def off(self, name):
        node = self._node(name)
        if not node.is_on():
            return
        self._unwatch(node)
        node.power_off()
        log(f"{name}: off")

    def serve(self, verb, what):
        """What is a node, or a link of it: NODE/NETWORK."""
        name, _, network = what.partition("/")
        if verb in ("cut", "heal"):
            self._node(name).set_cut(network, verb == "cut")
        elif verb in ("freeze", "thaw"):
            self._node(name).freeze(verb == "freeze")
        else:
            raise LabError(f"no verb {verb!r}")
        log(f"{what}: {verb}")

    def state(self):
        return {"pid": os.getpid(),
                "nodes": {name: {"on": node.is_on(), "frozen": node.frozen, "cut": sorted(node.cut),
                                 "pid": node.pid} for name, node in self.nodes.items()}}

    def close(self):
        for node in self.nodes.values():
            if node.is_on():
                node.power_off()

    def _write_secrets(self):
        for path, size in ((self._places.token, 32), (self._places.chap, 7)):
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(size) + "\n", encoding="ascii")
        return self._places.chap.read_text(encoding="ascii").strip()

    def _start_clock(self):
        """It tells this computer's time and does not touch it."""
        config = self._places.directory / "chrony.conf"
        config.write_text(CHRONY.format(pidfile=self._places.directory / "chronyd.pid"), encoding="ascii")
        subprocess.Popen(["chronyd", "-x", "-d", "-u", "root", "-f", str(config)], stdin=subprocess.DEVNULL,
                         preexec_fn=die_with_parent)

    def _ended(self, node):
        """It powered itself off, or its QEMU broke down."""
        self._unwatch(node)
        log(f"{node.name}: ended by itself with {node.collect()}")


def make_networks():
    """What tgtd keeps in /run is this lab's own, too."""
    for folder in ("/run/tgtd", "/run/chrony"):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "vmlab", folder], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for network in NETWORKS:
        subprocess.run(["ip", "link", "add", network, "type", "bridge", "stp_state", "0", "forward_delay", "0"],
                       check=True)
        subprocess.run(["ip", "addr", "add", f"{address(network)}/24", "dev", network], check=True)
        subprocess.run(["ip", "link", "set", network, "up"], check=True)


def make_key(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vmlab", "-f", str(path)], check=True)
    return path


def power_listener():
    return socket.create_server((address("lan"), POWER_PORT), backlog=16)


def main():
    places = Places(sys.argv[1])
    Daemon(places, lambda selector: Lab(places, Settings.load(places), selector), power_listener,
           int(sys.argv[2])).run()


if __name__ == "__main__":
    main()
