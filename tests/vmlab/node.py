# SPDX-License-Identifier: GPL-2.0-or-later
"""A node: a QEMU machine with ports in the lab's networks, a watchdog and a disk of its own."""
import os
import signal
import subprocess

from places import CUTTABLE, NETWORKS, LabError, mac
from namespaces import die_with_parent

KERNEL = ("root=/dev/vda rw console=ttyS0 quiet systemd.show_status=true net.ifnames=0 mitigations=off nowatchdog tsc=reliable "
          "systemd.hostname={name} systemd.machine_id={machine}")
CPU = {"kvm": "host", "tcg": "max"}  # "max" without KVM has SVM with nested paging


class Node:
    """Dies with this process. Off, it keeps its disk."""

    def __init__(self, places, settings, name):
        self.name = name
        self._home = places.node(name)
        self._console = places.console(name)
        self._settings = settings
        self._process = None
        self.frozen = False
        self.cut = set()

    def is_on(self):
        return self._process is not None

    @property
    def pid(self):
        return self._process.pid if self._process else None

    def make_disk(self, image):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image),
                        str(self._home / "disk.qcow2")], check=True)

    def boot(self):
        for network in NETWORKS:
            self._make_port(network)
        with open(self._home / "qemu.log", "ab") as output:
            self._process = subprocess.Popen(self._arguments(), stdin=subprocess.DEVNULL, stdout=output,
                                             stderr=output, start_new_session=True, preexec_fn=die_with_parent)

    def handle(self):
        """A descriptor that becomes readable when the machine is off."""
        return os.pidfd_open(self._process.pid)

    def power_off(self):
        """A power cut: at once, and when this returns it runs nothing any more."""
        self._process.kill()
        return self.collect()

    def collect(self):
        code = self._process.wait(timeout=20)
        self._process, self.frozen = None, False
        for network in NETWORKS:
            subprocess.run(["ip", "link", "del", self._port(network)], check=False)
        return code

    def freeze(self, frozen):
        """Nothing of it runs until it is thawed; then it goes on as if nothing had been."""
        if not self.is_on():
            raise LabError(f"{self.name} is off")
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)
        self.frozen = frozen

    def set_cut(self, network, cut):
        if network not in CUTTABLE:
            raise LabError(f"no link {network!r}; links: {' '.join(CUTTABLE)}")
        (self.cut.add if cut else self.cut.discard)(network)
        if self.is_on():
            self._set_link(network)

    def _port(self, network):
        return f"{self.name}-{network}"

    def _make_port(self, network):
        port = self._port(network)
        subprocess.run(["ip", "tuntap", "add", port, "mode", "tap"], check=True)
        subprocess.run(["ip", "link", "set", port, "master", network], check=True)
        self._set_link(network)

    def _set_link(self, network):
        state = "down" if network in self.cut else "up"
        subprocess.run(["ip", "link", "set", self._port(network), state], check=True)

    def _arguments(self):
        image, accel = self._settings.image, self._settings.accelerator
        kernel = KERNEL.format(name=self.name, machine=self._settings.machine_ids[self.name])
        argv = ["qemu-system-x86_64", "-name", f"{self._settings.lab}-{self.name}", "-nodefaults",
                "-no-user-config", "-display", "none", "-machine", "q35",
                "-accel", "kvm" if accel == "kvm" else "tcg,thread=multi",
                "-cpu", CPU[accel], "-smp", str(self._settings.cpus), "-m", str(self._settings.memory_mib),
                "-kernel", f"{image}/vmlinux", "-initrd", f"{image}/initrd.img", "-append", kernel,
                "-drive", f"file={self._home}/disk.qcow2,if=virtio,format=qcow2,cache=unsafe",
                "-drive", f"file={self._home}/config.tar,if=virtio,format=raw,readonly=on",
                "-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset",
                "-chardev", f"file,id=console,path={self._console},append=on", "-serial", "chardev:console",
                "-qmp", f"unix:{self._home}/qmp.sock,server=on,wait=off"]
        for network in NETWORKS:
            argv += ["-netdev", f"tap,id={network},ifname={self._port(network)},script=no,downscript=no",
                     "-device", f"virtio-net-pci,netdev={network},mac={mac(network, self.name)},romfile="]
        return argv
