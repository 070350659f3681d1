# SPDX-License-Identifier: GPL-2.0-or-later
"""What the cluster tests share: the lab, the vmferry command, VMs and their guests.

Runs on the lab's LAN (`lab client --net`), where guests and the agents' API are reached."""

import json
import os
import socket
import subprocess
import time
import traceback
import uuid
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
LAB = TOP / "tests/lab/lab"
NODES = tuple(f"n{i + 1}" for i in range(int(os.environ.get("VMFERRY_LAB_NODES", "3"))))
GUEST_PORT = 7777


class Skipped(Exception):
    """The test cannot be done here; the text says why."""


class CommandFailed(Exception):
    def __init__(self, argv, code, out, err):
        super().__init__(f"{' '.join(map(str, argv))}: exit code {code}\n{out}{err}")
        self.code, self.out, self.err = code, out, err


def in_a_line(error):
    """What failed where, for a summary in which there is no room for more."""
    most = 300
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((each for each in reversed(frames) if "/cases_" in each.filename), frames[-1])
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{Path(frame.filename).name}:{frame.lineno}: {text}"[:most]


def run(*argv, check=True, timeout=180, **kwargs):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True,
                          timeout=timeout, **kwargs)
    if check and done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stdout, done.stderr)
    return done


def wait_for(what, predicate, timeout, step=0.1):
    """Returns predicate's first true value; fails by name when there is none in time."""
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for: {what}")
        time.sleep(step)


class Cluster:
    def __init__(self, name):
        self.name = name

    def shared(self, path):
        """Where a path below /srv/shared is for us."""
        return Path(self.lab("path").stdout.strip()) / "shared" / Path(path).name

    def lab(self, *argv, **kwargs):
        return run(LAB, "--name", self.name, *argv, **kwargs)

    def on(self, node, *argv, **kwargs):
        return self.lab("exec", node, *argv, **kwargs)

    def vmferry(self, *argv, check=True, timeout=400):
        return run(TOP / "build/release/migrate/command/vmferry", *argv, check=check,
                   timeout=timeout)

    def json(self, *argv, **kwargs):
        return json.loads(self.vmferry("--json", *argv, **kwargs).stdout)

    def show(self, vm):
        return self.json("show", vm)

    def events(self, *argv, node=None):
        """What NODE (or the first that answers) knows; the ids are its own."""
        urls = os.environ["VMFERRY_URL"].split(",")
        if node:
            argv = ("--url", urls[NODES.index(node)], *argv)
        lines = self.vmferry("--json", "events", *argv).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def follow_events(self, node):
        """A process whose output are NODE's events from now on, a JSON object a line."""
        url = os.environ["VMFERRY_URL"].split(",")[NODES.index(node)]
        newest = max((event["id"] for event in self.events(node=node)), default=0)
        return subprocess.Popen(
            [str(TOP / "build/release/migrate/command/vmferry"), "--url", url, "--json", "events",
             "-f", "--since", str(newest)], stdout=subprocess.PIPE, text=True)

    def last_event(self):
        return max((event["id"] for event in self.events()), default=0)

    def events_of(self, vm, since):
        """Kinds and messages of the VM's events after the event SINCE."""
        return [(event["type"], event["message"])
                for event in self.events("--since", str(since)) if event.get("vm") == vm]

    def settled_on(self, shown):
        """The node if the VM (as `show` tells of it) runs there and nowhere else, with all its memory."""
        good = (shown.get("state") == "running" and not shown["loading"] and
                shown["record_state"] == "running" and self.qemus(shown["name"]) == [shown["node"]])
        return shown["node"] if good else None

    def node_of(self, vm):
        shown = self.show(vm)
        return shown["node"] if shown.get("state") == "running" else None

    def online(self):
        """Nodes that Pacemaker calls online and whose agent is in the cluster."""
        try:
            nodes = self.json("node")
        except (CommandFailed, json.JSONDecodeError):
            return []
        return [n["name"] for n in nodes if n["online"] and n["agent"] and not n.get("standby")]

    def wait_online(self, names=NODES, timeout=90):
        wait_for(f"nodes {', '.join(names)} online",
                 lambda: set(names) <= set(self.online()), timeout, 0.5)

    def cib(self):
        """The whole CIB, from a node that is online; waits for one that answers."""
        def asked():
            for node in self.online():
                found = self.on(node, "cibadmin", "--query", check=False)
                if found.returncode == 0:
                    return found.stdout
            return None

        return wait_for("the CIB of a node", asked, 60, 0.5)

    def qemus(self, vm):
        """Nodes that have a QEMU process of the VM, seen by the nodes' own process lists."""
        nodes = []
        for node in NODES:
            ps = self.on(node, "ps", "-eo", "args", check=False)
            if any("qemu-system" in line and f"guest={vm}" in line
                   for line in ps.stdout.splitlines()):
                nodes.append(node)
        return nodes


class Vm:
    """A guest of tests/guest, its definition and its state area."""

    next_ip = 100

    def __init__(self, cluster, name, memory_mib=512, area=None, cold=False, **overrides):
        self.cluster, self.name = cluster, name
        self.ip = f"10.77.0.{Vm.next_ip}"
        Vm.next_ip += 1
        self.area = area or f"/srv/shared/{name}.vmf"
        self.definition = {
            "name": name,
            "uuid": str(uuid.uuid4()),
            "memory_mib": memory_mib,
            "vcpus": 1,
            "cpu": "max",
            "machine": "pc-q35-7.2",
            "boot": {
                "kernel": "/srv/shared/guest/vmlinuz",
                "initrd": "/srv/shared/guest/initrd.img",
                "cmdline": f"console=ttyS0 quiet guest.ip={self.ip}/24",
            },
            "nics": [{"bridge": "br0"}],
            "state_area": self.area,
            "on_stop": "save",
        } | overrides

    def file(self):
        path = self.cluster.shared(f"{self.name}.json")
        path.write_text(json.dumps(self.definition))
        return path

    def define(self):
        self.cluster.vmferry("define", self.file())
        return self

    def guest(self, timeout=60):
        return Guest(self.ip, timeout)

    def remove(self):
        self.cluster.vmferry("stop", self.name, "--poweroff", check=False)
        self.cluster.vmferry("discard", self.name, check=False)
        self.cluster.vmferry("undefine", self.name)


class Guest:
    """One TCP connection to the guest's line protocol (tests/guest)."""

    def __init__(self, ip, timeout=60):
        self.ip = ip
        end = time.monotonic() + timeout
        while True:
            try:
                self.socket = socket.create_connection((ip, GUEST_PORT), timeout=1)
                break
            except OSError:
                if time.monotonic() > end:
                    raise AssertionError(f"the guest at {ip} does not answer") from None
                time.sleep(0.05)
        self.socket.settimeout(60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lines = self.socket.makefile("r")

    def send(self, line):
        self.socket.sendall(f"{line}\n".encode())

    def ask(self, line):
        self.send(line)
        answer = self.lines.readline()
        if not answer:
            raise AssertionError(f"the guest at {self.ip} closed the connection")
        return answer.split()

    def counter(self):
        _, counter, boot, *_ = self.ask("c")
        return int(counter), boot

    def fill(self, mib):
        self.ask(f"fill {mib}")

    def sum(self):
        return self.ask("sum")[-1]

    def close(self):
        self.lines.close()
        self.socket.close()


def lab_name():
    return os.environ["VMFERRY_LAB_NAME"]
