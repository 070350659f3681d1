# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's two nodes: commands in them, and what the benchmark adds to them."""

import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import control
import machines
from cluster import wait_for
from errors import BenchError
from layout import Layout

NODES = ("n1", "n2")
SHARED = "/srv/bench"  # the throttled storage, in the nodes
DEVICE = "/srv/bench.device"
LIBEXEC = "/srv/shared/libexec"
NO_KVM = "/run/no-kvm"
LONGEST = 300  # characters of an error
ONLINE_SECONDS = 90

LIBVIRTD_CONF = """\
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_level = 3
"""
# A node sees no cgroups and no AppArmor of its own.
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
save_image_format = "raw"
"""
# `virsh save` returns when QEMU has written to the page cache, which both nodes share here. Between
# two computers the next node reads from storage: so what was saved is flushed, and dropped from the
# page cache, before the save is over.
HOOK = """\
#!/bin/sh
# qemu DOMAIN OPERATION SUB-OPERATION: "stopped" comes within `virsh save`, before it returns.
file={shared}/save/$1.state
[ "$2" = stopped ] && [ -s "$file" ] &&
    dd if="$file" of="$file" oflag=nocache conv=notrunc,fdatasync count=0 2>/dev/null
exit 0
"""


class Nodes:
    """Runs commands in the nodes; knows what has to be there."""

    def __init__(self, lab_name, device):
        self._layout = Layout(lab_name)
        self._device = device
        self._environment = machines.node_environment(machines.Settings.load(self._layout))

    @property
    def layout(self):
        return self._layout

    def pid(self, node):
        """The first process of the node, as this machine sees it."""
        state = control.request(self._layout, "state")["nodes"][node]
        if not state["on"]:
            raise BenchError(f"{node} is off")
        return state["pid"]

    def root(self, node):
        """The node's file system, seen from here."""
        return Path(f"/proc/{self.pid(node)}/root")

    def run(self, node, *argv, check=True, timeout=120, text=None):
        command = ["nsenter", f"--target={self.pid(node)}", "--mount", "--net", "--pid", "--ipc",
                   "--uts", "--", *map(str, argv)]
        kind = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True,
                              timeout=timeout, check=False, **kind)
        if check and done.returncode != 0:
            raise BenchError(f"{node}: {' '.join(map(str, argv))[:LONGEST]}: exit code "
                             f"{done.returncode}: {(done.stderr + done.stdout).strip()[:LONGEST]}")
        return done

    def prepare(self):
        """Makes both nodes ready for all peers; does what is missing, also after a fencing."""
        wait_for("both nodes online", self._all_online, ONLINE_SECONDS, 0.5)
        for node in NODES:
            self._mount(node)
            self._start_libvirt(node)

    def _all_online(self):
        try:
            state = {name: self.pid(name) for name in NODES}
        except BenchError:
            return False
        found = self.run(NODES[0], "crm_mon", "-1", "--output-as=xml", check=False)
        if len(state) != len(NODES) or found.returncode != 0:
            return False
        nodes = ElementTree.fromstring(found.stdout).findall("nodes/node")
        return (len(nodes) == len(NODES) and
                all(node.get("online") == "true" and node.get("pending") == "false"
                    for node in nodes))

    def _mount(self, node):
        """One ext4, mounted in each node: the same kernel, so it is one shared directory."""
        if self.run(node, "mountpoint", "-q", SHARED, check=False).returncode == 0:
            return
        self.run(node, "mkdir", "-p", SHARED)
        self.run(node, "rm", "-f", DEVICE)
        self.run(node, "mknod", DEVICE, "b", self._device.major, self._device.minor)
        self.run(node, "mount", "-t", "ext4", DEVICE, SHARED)
        self.run(node, "mkdir", "-p", f"{SHARED}/save")

    def _start_libvirt(self, node):
        if self.run(node, "pidof", "libvirtd", check=False).returncode == 0:
            return
        self._hide_kvm(node)
        self.run(node, "mount", "-t", "tmpfs", "-o", "mode=711", "libvirt", "/var/cache/libvirt")
        etc = self.root(node) / "etc/libvirt"
        (etc / "libvirtd.conf").write_text(LIBVIRTD_CONF, encoding="ascii")
        (etc / "qemu.conf").write_text(QEMU_CONF, encoding="ascii")
        (etc / "hooks").mkdir(exist_ok=True)
        hook = etc / "hooks/qemu"
        hook.write_text(HOOK.format(shared=SHARED), encoding="ascii")
        hook.chmod(0o755)
        shutil.rmtree(etc / "qemu/networks/autostart", ignore_errors=True)
        self.run(node, "mkdir", "-p", "/var/log/libvirt/qemu")
        self.run(node, "libvirtd", "-d", "--listen")

    def _hide_kvm(self, node):
        """The lab puts /dev/null in KVM's place. libvirt takes that for a KVM that has just become
        usable, and asks QEMU for its abilities anew, which takes seconds, before all it does."""
        if not os.path.exists("/dev/kvm"):
            return
        self.run(node, "touch", NO_KVM)
        self.run(node, "mount", "--bind", NO_KVM, "/dev/kvm")
        self.run(node, "mount", "-o", "remount,bind,ro", "/dev/kvm")

    def unmount(self):
        for node in NODES:
            self.run(node, "umount", SHARED, check=False)


def use_own_libexec(nodes, build):
    """Lets the agents find saver and pager in a directory of ours, where the pager can be
    replaced. They are restarted once."""
    folder = nodes.layout.shared / "libexec"
    folder.mkdir(exist_ok=True)
    choose_pager(nodes, build)
    for program in ("vmferry-saver", "vmferry-launch"):
        (folder / program).symlink_to(f"{build}/migrate/{program}")
    for node in NODES:
        conf = nodes.root(node) / "etc/vmferry/vmferryd.conf"
        lines = conf.read_text(encoding="utf-8").splitlines()
        lines = [f"libexec_dir={LIBEXEC}" if line.startswith("libexec_dir=") else line
                 for line in lines]
        conf.write_text("\n".join(lines) + "\n", encoding="utf-8")
        pid = nodes.run(node, "pidof", "vmferryd").stdout.split()[0]
        nodes.run(node, "kill", pid)
        wait_for(f"{node}: vmferryd to run again",
                 lambda n=node, old=pid: nodes.run(n, "pidof", "vmferryd", check=False).stdout.strip()
                 not in ("", old), 30)


def choose_pager(nodes, build, option=None):
    """From now on each pager is started with OPTION, if there is one."""
    real = f"{build}/migrate/vmferry-pager"
    text = f'#!/bin/sh\nexec {real} {option + " " if option else ""}"$@"\n'
    path = nodes.layout.shared / "libexec/vmferry-pager"
    scratch = path.with_suffix(".new")
    scratch.write_text(text, encoding="utf-8")
    scratch.chmod(0o755)
    scratch.replace(path)
