# SPDX-License-Identifier: GPL-2.0-or-later
"""What the machines of a lab consist of: files, mounts and services, as init.py reads them."""
import json
import os
import secrets
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import cluster_files
from layout import (API_PORT, HERE, ISCSI_LUNS, ISCSI_TARGET, LAN_ADDRESS, LAN_BRIDGE, LAN_PREFIX,
                    node_address, node_names)

GUEST_FILES = ("vmlinuz", "initrd.img", "initrd-agent.img", "bare.bin", "guest.key")  # what of them there is
STORAGE_FAULT = "tests/lab/storage-fault.so"  # below the build directory
TOKEN_MS = 1000  # corosync
CLUSTER_USER = ["hacluster", "haclient"]
ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("VMFERRY_QEMU", "G_MESSAGES_DEBUG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LANG")


@dataclass
class Settings:
    """What `lab up` was asked for. build is None where the lab runs without vmferry."""
    nodes: int
    build: str | None
    guest: str  # the directory build-guest filled
    kvm: bool
    storage_faults: bool = False  # storage_fault.c comes along with every program
    environment: dict = field(default_factory=dict)

    def names(self):
        return node_names(self.nodes)

    def save(self, layout):
        layout.settings.write_text(json.dumps(self.__dict__), encoding="utf-8")

    @classmethod
    def load(cls, layout):
        return cls(**json.loads(layout.settings.read_text(encoding="utf-8")))


def build_directories(build):
    return [f"{build}/agent", f"{build}/migrate/command"] if build else []


def node_environment(settings):
    path = ":".join(build_directories(settings.build) + [ROOT_PATH])
    return {**settings.environment, "PATH": path, "HOME": "/root"}


def client_environment(layout, settings):
    path = ":".join(build_directories(settings.build) + [str(HERE), ROOT_PATH])
    urls = ",".join(f"http://{node_address(name)}:{API_PORT}" for name in settings.names())
    return {"PATH": path, "VMFERRY_URL": urls, "VMFERRY_TOKEN_FILE": str(layout.token)}


def write_common_files(layout, settings):
    """Files all machines share."""
    layout.shared.mkdir(parents=True)
    (layout.shared / "guest").mkdir()
    for name in GUEST_FILES:
        if (Path(settings.guest) / name).exists():
            shutil.copy(Path(settings.guest) / name, layout.shared / "guest")
    layout.luns.mkdir()
    _write_secret(layout.token, secrets.token_hex(32).encode() + b"\n")
    tools = layout.tools / "sbin"
    tools.mkdir(parents=True)
    shutil.copy(HERE / "fence_vmferry_lab", tools)
    agents = layout.tools / "ocf" / "vmferry"
    agents.mkdir(parents=True)
    if settings.build:
        # A copy: Pacemaker's hacluster reads its meta-data and may not see the build directory.
        shutil.copy(f"{settings.build}/resource-agents/VirtualMachine", agents)


def write_node(layout, settings, name, authkey, devices):
    """The node's disk, as it were, and its specification."""
    names = settings.names()
    home = layout.machine(name)
    etc = _make_etc(home, name, names)
    _write_corosync(etc, layout.name, names, authkey)
    _write_first_cib(home, layout, names)
    if settings.build:
        _write_users(etc)
        (etc / "vmferry").mkdir()
        (etc / "vmferry/vmferryd.conf").write_text(
            cluster_files.agent_conf(name, settings.build), encoding="utf-8")
        _write_secret(etc / "vmferry/token", layout.token.read_bytes())
    if settings.storage_faults:
        shutil.copy(f"{settings.build}/{STORAGE_FAULT}", etc / "storage-fault.so")
        (etc / "ld.so.preload").write_text("/etc/storage-fault.so\n", encoding="ascii")
    spec = _common_spec(layout, home, name, devices)
    spec["mounts"] += [
        _overlay(home, "/var/lib"),
        _lower(layout.tools / "sbin", "/usr/sbin"),
        _lower(layout.tools / "ocf", "/usr/lib/ocf/resource.d"),
    ]
    if os.path.exists("/dev/kvm") and not settings.kvm:
        spec["mounts"].append(["/dev/null", "/dev/kvm", "bind", None])
    spec["inner_mounts"] += [
        [str(home / "pacemaker"), "/var/lib/pacemaker", "bind", None],
        [str(home / "corosync"), "/var/lib/corosync", "bind", None],
    ]
    spec["directories"] += [
        ["/run/crm", "0750", CLUSTER_USER], ["/run/vmferry", "0755", None],
        ["/var/log/corosync", "0755", None], ["/var/log/pacemaker", "0770", CLUSTER_USER],
    ]
    spec["commands"] = _node_network(node_address(name))
    spec["services"] = _node_services(settings.build)
    spec["environment"] = node_environment(settings)
    _write_spec(home, spec)


def write_lan(layout, settings, devices):
    """The LAN's machine: bridge, iSCSI target, and where clients run."""
    home = layout.machine("lan")
    _make_etc(home, "lan", settings.names())
    spec = _common_spec(layout, home, "lan", devices)
    spec["directories"] += [["/run/tgtd", "0755", None]]
    spec["commands"] = _lan_network()
    spec["services"] = [_target_service(layout)]
    spec["environment"] = {"PATH": ROOT_PATH, "HOME": "/root"}
    _write_spec(home, spec)


def _make_etc(home, name, names):
    """What overlays /etc: host names and identity."""
    etc = home / "upper/etc"
    etc.mkdir(parents=True)
    (etc / "hosts").write_text(cluster_files.hosts(names), encoding="utf-8")
    (etc / "hostname").write_text(f"{name}\n", encoding="utf-8")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="utf-8")
    return etc


def _write_corosync(etc, lab_name, names, authkey):
    (etc / "corosync").mkdir()
    addresses = {name: node_address(name) for name in names}
    (etc / "corosync/corosync.conf").write_text(
        cluster_files.corosync_conf(f"lab-{lab_name}", addresses, TOKEN_MS), encoding="utf-8")
    _write_secret(etc / "corosync/authkey", authkey)


def _write_users(etc):
    passwd, group = (Path("/etc", name).read_text(encoding="utf-8") for name in ("passwd", "group"))
    passwd, group = cluster_files.users(passwd, group)
    (etc / "passwd").write_text(passwd, encoding="utf-8")
    (etc / "group").write_text(group, encoding="utf-8")


def _write_first_cib(home, layout, names):
    for folder in ("cib", "pengine", "blackbox", "cores"):
        path = home / "pacemaker" / folder
        path.mkdir(parents=True)
        _give_to_cluster(path, 0o750)
    _give_to_cluster(home / "pacemaker", 0o750)
    (home / "corosync").mkdir()
    cib = home / "pacemaker/cib/cib.xml"
    cib.write_text(cluster_files.first_cib(layout.power, names), encoding="utf-8")
    _give_to_cluster(cib, 0o600)


def _give_to_cluster(path, mode):
    os.chmod(path, mode)
    shutil.chown(path, *CLUSTER_USER)


def _write_secret(path, content):
    path.touch(mode=0o600)
    path.write_bytes(content)


def _write_spec(home, spec):
    (home / "spec.json").write_text(json.dumps(spec, indent=1), encoding="utf-8")


def _common_spec(layout, home, name, devices):
    (home / "log").mkdir()
    return {
        "name": name,
        "mounts": [
            ["proc", "/proc", "proc", None],
            ["sysfs", "/sys", "sysfs", "ro"],
            ["run", "/run", "tmpfs", "mode=755"],
            ["shm", "/dev/shm", "tmpfs", "mode=1777"],
            ["srv", "/srv", "tmpfs", "mode=755"],
            [str(home / "log"), "/var/log", "bind", None],
            _overlay(home, "/etc"),
        ],
        "directories": [["/run/lock", "1777", None], ["/srv/shared", "0755", None],
                        ["/srv/lun", "0755", None]],
        "inner_mounts": [[str(layout.shared), "/srv/shared", "bind", None]],
        "devices": [[f"/srv/lun/lun{index}", device.major, device.minor]
                    for index, device in enumerate(devices)],
    }


def _overlay(home, target):
    upper = home / "upper" / target.strip("/")
    work = home / "work" / target.strip("/")
    upper.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True)
    return ["overlay", target, "overlay", f"lowerdir={target},upperdir={upper},workdir={work}"]


def _lower(extra, target):
    return ["overlay", target, "overlay", f"lowerdir={extra}:{target}"]


def _node_network(address):
    """A bridge without an address of its own takes its lowest port's, which a tap may change."""
    ip = ["ip"]
    mac = "02:76:6d:66:00:%02x" % int(address.rsplit(".", 1)[1])
    return [
        ip + ["link", "set", "lo", "up"],
        ip + ["link", "add", "br0", "address", mac, "type", "bridge", "stp_state", "0",
              "forward_delay", "0"],
        ip + ["link", "set", "eth0", "master", "br0", "up"],
        ip + ["addr", "add", f"{address}/{LAN_PREFIX}", "dev", "br0"],
        ip + ["link", "set", "br0", "up"],
    ]


def _lan_network():
    network = f"{LAN_ADDRESS.rsplit('.', 1)[0]}.0/{LAN_PREFIX}"
    ip = ["ip"]
    return [
        ip + ["link", "set", "lo", "up"],
        ip + ["link", "add", LAN_BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0"],
        ip + ["addr", "add", f"{LAN_ADDRESS}/{LAN_PREFIX}", "dev", LAN_BRIDGE],
        ip + ["link", "set", LAN_BRIDGE, "up"],
        # A client's lost packet is sent again after 5 ms, not 200: a blackout is measured, not TCP.
        ip + ["route", "change", network, "dev", LAN_BRIDGE, "src", LAN_ADDRESS,
              "rto_min", "5ms"],
    ]


def _service(name, argv, log, ready, patience, respawn=False):
    return {"name": name, "argv": argv, "log": log, "ready": ready, "patience": patience,
            "respawn": respawn}


def _node_services(build):
    services = [_service("corosync", ["corosync", "-f"], "/var/log/corosync/stderr.log",
                         ["corosync-cfgtool", "-s"], 20)]
    if build:
        services.append(_service(
            "vmferryd", [f"{build}/agent/vmferryd", "--config", "/etc/vmferry/vmferryd.conf"],
            "/var/log/vmferryd.log", ["test", "-S", "/run/vmferry/ra.sock"], 10, respawn=True))
    pacemaker = ["env", "PCMK_logfile=/var/log/pacemaker/pacemaker.log", "PCMK_logfacility=none",
                 "pacemakerd", "-f"]
    services.append(_service("pacemakerd", pacemaker, "/var/log/pacemaker/stderr.log", None, 0))
    return services


def _target_service(layout):
    argv = ["/usr/bin/python3", str(HERE / "iscsi_target.py"), LAN_ADDRESS, ISCSI_TARGET]
    argv += [str(layout.iscsi_lun(index)) for index in range(1, ISCSI_LUNS + 1)]
    return _service("tgtd", argv, "/var/log/tgtd.log", ["test", "-e", "/run/tgtd/ready"], 10)


def spec_path(layout, name):
    return Path(layout.machine(name)) / "spec.json"
