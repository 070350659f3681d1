# SPDX-License-Identifier: GPL-2.0-or-later
"""Pacemaker with ocf:heartbeat:VirtualDomain and libvirt: saved and restored, or moved live."""

import re
import time
import xml.etree.ElementTree as ElementTree

import guest
from cluster import wait_for
from errors import BenchError
from measure import Move
from nodes import NODES, SHARED

RESOURCE = guest.NAME
CONFIG = f"/srv/shared/{guest.NAME}.xml"
WRAPPER_FILE = "safe-qemu"
TCG_EXTRA_KIB = 8
MOVE_SECONDS = 600
TUNED_SECONDS = 600
IDLE = re.compile(rb"State transition S_TRANSITION_ENGINE -> S_IDLE")

DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='KiB'>{memory_kib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    {boot}
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='maximum'/>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>{emulator}</emulator>
    <controller type='usb' model='none'/>
    <interface type='bridge'>
      <mac address='{mac}'/>
      <source bridge='br0'/>
      <model type='virtio'/>
      <driver name='qemu'/>
      <rom enabled='no'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x03' function='0x0'/>
    </interface>
    <serial type='null'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
  </devices>
</domain>
"""

WRAPPER = """\
#!/bin/bash
# QEMU with {extra} KiB more memory than libvirt asks for: "-m MIB" and the size of pc.ram.
arguments=()
before=
for argument; do
    [ "$before" = -m ] && argument=size=$((argument * 1024 + {extra}))K
    before=$argument
    [[ $argument =~ ^(.*\\"id\\":\\"pc.ram\\",\\"size\\":)([0-9]+)(.*)$ ]] &&
        argument=${{BASH_REMATCH[1]}}$((BASH_REMATCH[2] + {extra} * 1024))${{BASH_REMATCH[3]}}
    arguments+=("$argument")
done
exec {qemu} "${{arguments[@]}}"
"""

PRIMITIVE = """\
<primitive id="{id}" class="ocf" provider="heartbeat" type="VirtualDomain">
  <instance_attributes id="{id}-parameters">{parameters}</instance_attributes>
  <meta_attributes id="{id}-meta">
    <nvpair id="{id}-meta-live" name="allow-migrate" value="{live}"/>
  </meta_attributes>
  <operations>{operations}</operations>
</primitive>
"""


# With the constraint that `crm_resource --move` would write.
CONFIGURATION = """\
<configuration>
  <resources>{primitive}</resources>
  <constraints>
    <rsc_location id="cli-prefer-{id}" rsc="{id}" role="Started" node="n1" score="INFINITY"/>
  </constraints>
</configuration>
"""


class VirtualDomain:
    """What the variants share."""

    live = False
    timeout = TUNED_SECONDS
    parameters = {}

    def __init__(self, bench, spec):
        self._nodes, self._spec = bench.nodes, spec

    def start(self):
        self._write_files()
        self._nodes.run("n1", "cibadmin", "--modify", "--allow-create", "--scope", "configuration",
                        "--xml-text", CONFIGURATION.format(id=RESOURCE, primitive=self._primitive()))
        wait_for("Pacemaker to have started the VM", self._has_started, 60, 0.3)
        return "n1"

    def _has_started(self):
        if self._failures():
            raise BenchError(f"the VM did not start: {self._failures()}")
        return self._location() == "n1"

    def prepare(self, target):
        pass

    def move(self, source, target):
        logs = [_Log(self._nodes, node) for node in NODES]
        boots = self._boots()
        asked = time.time()
        self._nodes.run(source, "crm_resource", "--move", "--resource", RESOURCE, "--node", target)
        settled = self._await_idle(logs, target, boots)
        return Move(asked, settled), {}

    def remove(self):
        self._nodes.prepare()  # one may just have been fenced
        run = self._nodes.run
        # Nothing is to be saved, or restored, any more.
        run("n1", "rm", "-f", f"{SHARED}/save/{guest.NAME}.state")
        for name in NODES:
            run(name, "virsh", "destroy", guest.NAME, check=False)
        for scope, xml in (("constraints", f'<rsc_location id="cli-prefer-{RESOURCE}"/>'),
                           ("resources", f'<primitive id="{RESOURCE}"/>')):
            run("n1", "cibadmin", "--delete", "--scope", scope, "--xml-text", xml)
        wait_for("the VM to be gone", lambda: not guest.processes(self._spec), TUNED_SECONDS, 0.2)
        run("n1", "crm_resource", "--cleanup", "--resource", RESOURCE, check=False)
        run("n1", "rm", "-f", f"{SHARED}/save/{guest.NAME}.state")

    def _boots(self):
        """Another number after a node was fenced; None while it is off."""
        found = {}
        for name in NODES:
            try:
                found[name] = self._nodes.pid(name)
            except BenchError:
                found[name] = None
        return found

    def _await_idle(self, logs, target, boots):
        """Until Pacemaker is idle and has the VM on the target; when it was so."""
        end = time.monotonic() + MOVE_SECONDS
        while time.monotonic() < end:
            if self._boots() != boots:
                raise BenchError("Pacemaker had a node fenced: an operation took longer than its timeout")
            if any(log.tells_idle() for log in logs):
                idle = time.time()
                if self._location() == target:
                    return idle
                if self._failures():
                    raise BenchError(f"Pacemaker could not move the VM: {self._failures()}")
            time.sleep(0.05)
        raise BenchError(f"the VM is not on {target} after {MOVE_SECONDS} s: {self._failures()}")

    def _status(self):
        """What a node of the cluster says; nothing while none can."""
        for name in NODES:
            told = self._nodes.run(name, "crm_mon", "-1", "--output-as=xml", check=False)
            if told.returncode == 0:
                return ElementTree.fromstring(told.stdout)
        return ElementTree.Element("nothing")

    def _location(self):
        """The node where it is started, and nothing else is known or under way."""
        for resource in self._status().iterfind("resources//resource"):
            if resource.get("id") == RESOURCE:
                nodes = [node.get("name") for node in resource.findall("node")]
                if (resource.get("role") == "Started" and len(nodes) == 1
                        and resource.get("failed") == "false" and not resource.get("pending")):
                    return nodes[0]
        return None

    def _failures(self):
        return "; ".join(f"{failure.get('op_key')} on {failure.get('node')}: "
                         f"{failure.get('exitstatus')} {failure.get('exitreason')}"
                         for failure in self._status().iterfind("failures/failure"))

    def _emulator(self):
        return guest.qemu()

    def _write_files(self):
        shared, spec = self._nodes.layout.shared, self._spec
        (shared / f"{guest.NAME}.xml").write_text(DOMAIN.format(
            name=guest.NAME, uuid=spec.uuid, memory_kib=spec.ram_mib * 1024, machine=guest.MACHINE,
            boot="".join(f"<{key}>{value}</{key}>" for key, value in guest.kind.boot.items()),
            mac=guest.MAC, emulator=self._emulator()), encoding="ascii")
        for node in NODES:  # libvirt asks QEMU for its abilities once: now, not during a move
            self._nodes.run(node, "virsh", "domcapabilities", "--emulatorbin",
                            self._emulator(), "--virttype", "qemu")

    def _primitive(self):
        parameters = {"config": CONFIG, "hypervisor": "qemu:///system",
                      "autoset_utilization_cpu": "false",
                      "autoset_utilization_hv_memory": "false"} | self.parameters
        text = "".join(f'<nvpair id="{RESOURCE}-{key}" name="{key}" value="{value}"/>'
                       for key, value in parameters.items())
        return PRIMITIVE.format(id=RESOURCE, parameters=text, live=str(self.live).lower(),
                                operations=self._operations())

    def _operations(self):
        """The monitor has no say in a move's time; all others have our timeout."""
        monitor = (f'<op id="{RESOURCE}-monitor" name="monitor" interval="10s" timeout="30s"/>')
        if self.timeout is None:
            return monitor
        return monitor + "".join(
            f'<op id="{RESOURCE}-{name}" name="{name}" interval="0" timeout="{self.timeout}s"/>'
            for name in ("start", "stop", "migrate_to", "migrate_from"))


class VirtualDomainSave(VirtualDomain):
    """Saved when it stops, restored when it starts."""

    name = "virtualdomain-save"
    parameters = {"snapshot": f"{SHARED}/save"}


class VirtualDomainSaveDefault(VirtualDomainSave):
    """With no timeouts set: Pacemaker's own 20 s hold."""

    name = "virtualdomain-save-default"
    timeout = None


class VirtualDomainLive(VirtualDomain):
    """libvirt's live migration over the nodes' network."""

    name = "virtualdomain-live"
    live = True
    parameters = {"migration_transport": "tcp"}


class VirtualDomainLiveSafe(VirtualDomainLive):
    """With the memory size by which vmferry avoids a fault of QEMU's: under TCG it can lose a guest's
    writes while the guest is moved (hvcore/command_line.c), and the guest does not survive that. It
    costs a stall at the beginning that grows with RAM."""

    name = "virtualdomain-live-safe"

    def _emulator(self):
        path = self._nodes.layout.shared / WRAPPER_FILE
        if not path.exists():  # a new one is a new QEMU for libvirt
            path.write_text(WRAPPER.format(extra=TCG_EXTRA_KIB, qemu=guest.qemu()), encoding="ascii")
            path.chmod(0o755)
        return f"/srv/shared/{WRAPPER_FILE}"


class _Log:
    """What is new in a node's pacemaker.log."""

    def __init__(self, nodes, node):
        self._path = nodes.layout.machine(node) / "log/pacemaker/pacemaker.log"
        self._offset = self._path.stat().st_size
        self._rest = b""

    def tells_idle(self):
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            new = file.read()
        self._offset += len(new)
        text = self._rest + new
        self._rest = text[text.rfind(b"\n") + 1:]
        return IDLE.search(text[:len(text) - len(self._rest)]) is not None
