# SPDX-License-Identifier: GPL-2.0-or-later
"""What the cases share: the lab's cluster, its VMs and guests, and who watches them from outside.

Runs in the lab's network (`vmlab client`). Guests, their protocol and the watchers are tests/cluster's and
tests/bench's own."""
import json
import subprocess
import sys
import tempfile
import time
import uuid

from places import (CHAP_FILE, CHAP_USER, HERE, REPOSITORY, TARGET, LabError, Places, address,
                    wwid)

sys.path += [str(REPOSITORY / "tests/cluster"), str(REPOSITORY / "tests/bench/blackout_bench")]

import inside  # noqa: E402
from settings import Settings  # noqa: E402
from cluster import Cluster, CommandFailed, Guest, Skipped, in_a_line, run, wait_for  # noqa: E402,F401
from measure import Move, figures  # noqa: E402
from oracle import Journal, Log  # noqa: E402
from probe import Probe  # noqa: E402

import control  # noqa: E402  (of tests/lab)

GUEST_IP = "10.78.0.100"
GUEST_SECONDS = 180  # to boot: two levels of emulation
ONLINE_SECONDS = 600  # a node that was off has to boot, without KVM on a busy machine
CALM_SECONDS = 3.0
PROBE_MS = 10  # a question each millisecond keeps an emulated node of one CPU busy with nothing else
AFTER_SECONDS = 6.0
LOG_LINES = "60"


def quick(case):
    """Marks one that `check --quick` runs."""
    case.quick = True
    return case


class VmCluster(Cluster):
    """As tests/cluster's, of machines: the command is the package's own."""

    def __init__(self, name):
        super().__init__(name)
        self.places = Places(name)
        settings = Settings.load(self.places)
        self.names, self.release = settings.names(), settings.release

    def lab(self, *argv, **kwargs):
        return run(HERE / "vmlab", "--name", self.name, *argv, **kwargs)

    def on(self, node, *argv, check=True, timeout=120, text=None):
        return inside.run(self.places, node, *argv, check=check, seconds=timeout, text=text)

    def vmferry(self, *argv, check=True, timeout=600):
        return run("vmferry", *argv, check=check, timeout=timeout)

    def state(self):
        return control.request(self.places, "state")["nodes"]

    def other(self, node):
        return next(name for name in self.names if name != node)

    def wait_online(self, names=None, timeout=ONLINE_SECONDS):
        super().wait_online(tuple(names or self.names), timeout)

    def put(self, node, path, there):
        """Copies a file into a node."""
        pid = control.request(self.places, "state")["pid"]
        with open(path, "rb") as file:
            subprocess.run(["nsenter", f"--target={pid}", "--net", "--",
                            *inside.ssh(self.places, node, ["sh", "-c", f"cat >{there}"])], stdin=file,
                           check=True, timeout=120)

    def boot_id(self, node, check=True):
        return self.on(node, "cat", "/proc/sys/kernel/random/boot_id", check=check).stdout.strip()

    def wait_rebooted(self, node, before, timeout=ONLINE_SECONDS):
        """BEFORE: its boot_id then. Nobody answers in between."""
        wait_for(f"{node} to boot anew", lambda: self.boot_id(node, check=False) not in ("", before), timeout, 2)

    def restore(self):
        """Whatever a case has done: all nodes on, thawed and linked, no VM left."""
        for name, node in self.state().items():
            if node["frozen"]:
                self.lab("thaw", name)
            if node["cut"]:
                self.lab("heal", name)
            if not node["on"]:
                self.lab("start", name)
        self.wait_online()
        for vm in self.json("list"):
            self.vmferry("stop", vm["name"], "--poweroff", check=False)
            self.vmferry("discard", vm["name"], check=False)
            self.vmferry("undefine", vm["name"], check=False)

    def logs(self):
        """The last words of each node, for whoever reads a failure."""
        parts = []
        for name in self.names:
            for command in (("journalctl", "-b", "-u", "vmferryd", "-n", LOG_LINES, "--no-pager", "-o", "cat"),
                            ("tail", "-n", LOG_LINES, "/var/log/pacemaker/pacemaker.log"),
                            ("sh", "-c", "iscsiadm -m session -P1 | grep -E 'Target|Portal:|State'; "
                                         "multipath -ll; crm_mon -1r; vmferry events | tail -n 20")):
                try:
                    done = self.on(name, *command, check=False, timeout=60)
                    parts.append(f"--- {name}: {' '.join(command)}\n{done.stdout}{done.stderr}")
                except LabError as error:
                    parts.append(f"--- {name}: {error}")
        return "\n".join(parts)


def lun_of(name, number, **overrides):
    """A LUN of the storage target, for a definition's "storage": by two paths and with CHAP."""
    return {"name": name, "type": "iscsi", "target": TARGET, "lun": number,
            "portals": [address("san1"), address("san2")],
            "chap_user": CHAP_USER, "chap_secret_file": CHAP_FILE} | overrides


def ready_paths(cluster, node, number):
    """How many paths of a LUN work on the node, as multipathd has it."""
    status = cluster.on(node, "multipath", "-ll", wwid(TARGET, number)).stdout
    return status.count("active ready running")


MAX_BLACKOUT_MS = 2000  # what KVM on emulated hardware can do; for less the guest would be throttled in vain


class LabVm:
    """A VM with a disk for records, one for the journal, and its state area, all on LUNs over two paths."""

    disk, area, journal = 1, 2, 3

    def __init__(self, cluster, name, memory_mib=128, **overrides):
        self.cluster, self.name = cluster, name
        self.wipe()
        self.definition = {
            "name": name, "uuid": str(uuid.uuid4()), "memory_mib": memory_mib, "vcpus": 1,
            "cpu": "max", "machine": "pc-q35-7.2", "max_blackout_ms": MAX_BLACKOUT_MS,
            "boot": {"kernel": "/srv/guest/vmlinuz", "initrd": "/srv/guest/initrd-agent.img",
                     "cmdline": f"console=ttyS0 quiet guest.ip={GUEST_IP}/24 guest.journal=vdb:20"},
            "storage": [lun_of("records", self.disk), lun_of("journal", self.journal),
                        lun_of("state", self.area)],
            "disks": [{"type": "block", "storage": "records"}, {"type": "block", "storage": "journal"}],
            "nics": [{"bridge": "br0"}], "guest_agent": True, "state_area": {"storage": "state"},
        } | overrides

    def wipe(self):
        """The LUNs as new. No node has cached any of them: O_DIRECT."""
        for number in (self.disk, self.area, self.journal):
            path = self.cluster.places.lun(TARGET, number)
            run("fallocate", "--punch-hole", "--offset", "0", "--length", path.stat().st_size, path)

    def define(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(self.definition, file)
            file.flush()
            self.cluster.vmferry("define", file.name)
        return self

    def guest(self, seconds=GUEST_SECONDS):
        return Guest(GUEST_IP, seconds)

    def boot_of(self, seconds=GUEST_SECONDS):
        guest = self.guest(seconds)
        boot = guest.counter()[1]
        guest.close()
        return boot

    def node(self):
        return self.cluster.node_of(self.name)

    def wait_on(self, nodes, seconds):
        """The node of these that it runs on."""
        return wait_for(f"{self.name} on {' or '.join(nodes)}",
                        lambda: self.node() in nodes and self.node(), seconds, 0.5)

    def records(self):
        """How many records its disk has; fails where one is lost, torn or out of order."""
        guest = self.guest()
        answer = guest.ask("diskcheck")
        guest.close()
        assert answer[0] == "diskcheck", answer
        return int(answer[1])

    def remove(self):
        self.cluster.vmferry("stop", self.name, "--poweroff", check=False)
        self.cluster.vmferry("discard", self.name, check=False)
        self.cluster.vmferry("undefine", self.name)


def watched(cluster, name, fill_mib=16):
    """A running VM whose guest has filled memory and written ten records: (vm, watcher, boot, sum)."""
    vm = LabVm(cluster, name).define()
    guest = vm.guest()
    guest.socket.settimeout(300)
    guest.fill(fill_mib)
    boot, total = guest.counter()[1], guest.sum()
    guest.ask("disk 10")
    guest.close()
    return vm, Watcher(vm), boot, total


class Watcher:
    """Reads the journal's LUN behind all nodes' backs: no record lost, none twice, no second writer."""

    def __init__(self, vm):
        self.log = Log()
        self.log.say = lambda what, **details: None
        self.log.violation = self._violation
        self.violations = []
        self.journal = Journal(self.log, str(vm.cluster.places.lun(TARGET, vm.journal)))

    def _violation(self, rule, **details):
        self.violations.append((rule, details))

    def check(self):
        """How many records there are, and how many boots they are of."""
        before = -1
        while before != self.journal.count:
            before = self.journal.count
            self.journal.look()
        self.journal.check_all()
        assert not self.violations, self.violations[:3]
        return self.journal.count, len(self.journal.boots)


def build_probe(directory):
    """What asks the guest, built here."""
    program = f"{directory}/udp-probe"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", f"-I{REPOSITORY}", "-o", program,
                    str(REPOSITORY / "tests/bench/udp_probe.c")], check=True)
    return Probe(program, GUEST_IP, PROBE_MS)


def time_told(cluster, vm, since):
    """What came of setting its guest's time of day after the event SINCE."""
    told = [(kind, message) for kind, message in cluster.events_of(vm.name, since)
            if kind.startswith("vm.time-")]
    return told[-1] if told else None


def probed_move(cluster, vm, target, probe):
    """Moves it while PROBE looks; what the outside saw, with the command's last_move."""
    with probe:
        time.sleep(CALM_SECONDS)
        since, asked = cluster.last_event(), time.time()
        cluster.vmferry("migrate", vm.name, "--to", target)
        wait_for("the load to end", lambda: not cluster.show(vm.name)["loading"], 120, 0.2)
        vm.guest().counter()  # it answers
        kind, message = wait_for("its time of day to be set", lambda: time_told(cluster, vm, since), 180, 0.5)
        assert kind == "vm.time-set", message
        settled = time.time()
        time.sleep(AFTER_SECONDS)
    seen = figures(probe.seen, Move(asked, settled), CALM_SECONDS)
    return seen, cluster.show(vm.name)["last_move"], Move(asked, settled)
