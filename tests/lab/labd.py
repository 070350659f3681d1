#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon that owns a lab: its machines, links, LUNs and power switch.

usage: labd.py NAME PARENT-FD

Started by `lab up`. Until the lab is running, the end of PARENT-FD ends the lab too. However labd
ends, the kernel ends everything it owns: the machines by the parent-death signal, loop devices by
autoclear, links and mounts with their namespaces.
"""
import os
import secrets
import signal
import subprocess
import sys
import time

from layout import HERE, LAN_BRIDGE, LUN_BYTES, LUNS, ISCSI_BYTES, ISCSI_LUNS, LabError, Layout
from loopdev import LoopDevice
from server import Daemon, Machines, log, unix_listener
import machines
import namespaces
from userfault import Userfault


class Machine:
    """A node or the LAN's machine: the first process of its namespaces."""

    def __init__(self, layout, name):
        self.name = name
        self._spec = machines.spec_path(layout, name)
        self._console = layout.machine(name) / "log" / "console.log"
        self._waiter = None
        self.pid = None
        self.cut = False

    def is_on(self):
        return self._waiter is not None

    def create(self):
        """Makes the namespaces; the machine boots at release()."""
        with open(self._console, "ab") as output:
            self._waiter = namespaces.spawn_machine(
                ["/usr/bin/python3", "-E", str(HERE / "init.py"), str(self._spec)], output)
        self.pid = namespaces.first_process(self._waiter)

    def release(self):
        self._waiter.stdin.write(b"\n")
        self._waiter.stdin.close()

    def handle(self):
        """A descriptor that becomes readable when the machine is off."""
        return os.pidfd_open(self._waiter.pid)

    def kill(self):
        """A power cut. After it no process of the machine runs any more."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.collect()

    def collect(self):
        """Waits for the machine's end; returns how it ended, as a process's return code."""
        code = self._waiter.wait(timeout=20)
        self._waiter = self.pid = None
        return code


class Lab(Machines):
    """All machines of a lab and the links between them."""

    def __init__(self, layout, settings, selector):
        super().__init__({name: Machine(layout, name) for name in settings.names()}, selector)
        self.layout = layout
        self.settings = settings
        self._devices = []
        self._userfault = Userfault()
        self.lan = Machine(layout, "lan")

    def build(self):
        machines.write_common_files(self.layout, self.settings)
        self._devices = [LoopDevice(self.layout.lun(i), LUN_BYTES) for i in range(LUNS)]
        for index in range(1, ISCSI_LUNS + 1):
            with open(self.layout.iscsi_lun(index), "wb") as file:
                file.truncate(ISCSI_BYTES)
        machines.write_lan(self.layout, self.settings, self._devices)
        authkey = secrets.token_bytes(256)
        for name in self.nodes:
            machines.write_node(self.layout, self.settings, name, authkey, self._devices)

    def boot(self):
        self.lan.create()
        self._watch(self.lan)
        self.lan.release()
        self._await_bridge(5.0)
        for name in self.nodes:
            self.on(name)

    def on(self, name):
        node = self._node(name)
        if node.is_on():
            return
        node.create()
        self._watch(node)
        self._in_lan("ip", "link", "add", name, "type", "veth",
                     "peer", "name", "eth0", "netns", str(node.pid))
        self._in_lan("ip", "link", "set", name, "master", LAN_BRIDGE)
        self._in_lan("ip", "link", "set", name, "down" if node.cut else "up")
        node.release()
        log(f"{name}: on")

    def off(self, name):
        node = self._node(name)
        if not node.is_on():
            return
        self._unwatch(node)
        node.kill()
        self._drop_link(name)
        log(f"{name}: off")

    def serve(self, verb, name):
        if verb not in ("cut", "heal"):
            raise LabError(f"no verb {verb!r}")
        self._set_cut(name, verb == "cut")

    def _set_cut(self, name, cut):
        node = self._node(name)
        node.cut = cut
        if node.is_on():
            self._in_lan("ip", "link", "set", name, "down" if cut else "up")
        log(f"{name}: link {'cut' if cut else 'healed'}")

    def state(self):
        return {"pid": os.getpid(), "lan": self.lan.pid,
                "nodes": {name: {"on": node.is_on(), "cut": node.cut, "pid": node.pid}
                          for name, node in self.nodes.items()}}

    def close(self):
        for node in list(self.nodes.values()) + [self.lan]:
            if node.is_on():
                node.kill()
        for device in self._devices:
            device.close()
        self._userfault.close()

    def _ended(self, machine):
        """A machine ended by itself. reboot(2) in a PID namespace ends it with SIGHUP."""
        self._unwatch(machine)
        code = machine.collect()
        log(f"{machine.name}: ended by itself with {code}")
        if machine is self.lan:
            raise LabError("the LAN's machine ended")
        self._drop_link(machine.name)
        if code == -signal.SIGHUP:
            self.on(machine.name)

    def _drop_link(self, name):
        """The namespace goes later than its processes: the link's name must be free at once."""
        subprocess.run(self._lan_command("ip", "link", "del", name),
                       stderr=subprocess.DEVNULL, check=False)

    def _in_lan(self, *argv):
        subprocess.run(self._lan_command(*argv), check=True)

    def _lan_command(self, *argv):
        return ["nsenter", f"--target={self.lan.pid}", "--net", "--", *argv]

    def _await_bridge(self, seconds):
        deadline = time.monotonic() + seconds
        command = self._lan_command("ip", "link", "show", LAN_BRIDGE)
        while subprocess.run(command, capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise LabError(f"no LAN; see {self.layout.machine('lan')}/log/console.log")
            time.sleep(0.02)


def main():
    name, parent = sys.argv[1], int(sys.argv[2])
    layout = Layout(name)
    Daemon(layout, lambda selector: Lab(layout, machines.Settings.load(layout), selector),
           lambda: unix_listener(layout.power), parent).run()


if __name__ == "__main__":
    main()
