# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a VM lab's files are, which names and addresses it uses, and what the target exports."""
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
LAB = REPOSITORY / "tests" / "lab"
sys.path.append(str(LAB))

from layout import LabError  # noqa: E402  (of tests/lab)

GUEST_BUILDER = REPOSITORY / "tests" / "guest" / "build-guest"
API_PORT = 7791
POWER_PORT = 7790
ISCSI_PORT = 3260
SSH_SECONDS = 60  # for a connection; nodes are slow without KVM, and slower when they boot

# A node has a port in each of these; the lab's own address ends in 1, node n2's in 12.
NETWORKS = {
    "lan": "10.78.0",   # corosync, the API, guests from .100 on, the power switch
    "san1": "10.78.1",  # iSCSI
    "san2": "10.78.2",  # iSCSI, the other path
    "mgmt": "10.78.9",  # ssh and NTP: never cut
}
CUTTABLE = ("lan", "san1", "san2")

TARGET = "iqn.2026-01.lab.vmferry:storage"  # by CHAP
CLUSTER_TARGET = "iqn.2026-01.lab.vmferry:cluster"  # sbd's, open
CHAP_USER = "vmferry"
CHAP_FILE = "/etc/vmferry/chap"  # in the nodes

MIB = 1 << 20
# LUNs by their number, with their size; each has its own identity (identity()).
LUNS = {
    TARGET: {1: 64 * MIB,      # a disk
             2: 1024 * MIB,    # a state area
             3: 64 * MIB,      # another disk
             4: 1024 * MIB,    # another state area
             5: 1024 * MIB,    # a file system that its owner mounts
             6: 8 * MIB},      # too small for a state area
    CLUSTER_TARGET: {1: 8 * MIB},
}
SBD_LUN = (CLUSTER_TARGET, 1)


def target_id(target):
    """tgt's number."""
    return list(LUNS).index(target) + 1


def wwid(target, lun):
    """The LUN's name (NAA, page 0x83), as multipath and udev have it: tgt makes it of both numbers."""
    return f"3{0x6000000000000000:016x}{0x0e00000000000000 | target_id(target) << 16 | lun:016x}"


def address(network, name=None):
    """Of a node, or of the lab itself, in one of the networks."""
    return f"{NETWORKS[network]}.{10 + int(name[1:]) if name else 1}"


def mac(network, name):
    return f"52:54:00:78:{list(NETWORKS).index(network):02x}:{10 + int(name[1:]):02x}"


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "vmferry-vmlab" if base else Path("/var/cache/vmferry-vmlab")


class Places:
    """The paths of one lab, all below its directory."""

    def __init__(self, name):
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
            raise LabError(f"lab name {name!r}: use a-z, 0-9 and '-', at most 31 characters")
        base = Path(os.environ.get("VMFERRY_LAB_DIR", "/tmp")).resolve()
        self.name = name
        self.directory = base / f"vmferry-vmlab-{name}"
        self.control = self.directory / "control.sock"
        self.log = self.directory / "labd.log"
        self.settings = self.directory / "lab.json"
        self.token = self.directory / "token"
        self.key = self.directory / "ssh-key"
        self.chap = self.directory / "chap-secret"
        self.tools = self.directory / "tools"

    def node(self, name):
        return self.directory / "nodes" / name

    def console(self, name):
        return self.node(name) / "console.log"

    def lun(self, target, number):
        return self.directory / "luns" / f"{target.rpartition(':')[2]}-{number}.img"
