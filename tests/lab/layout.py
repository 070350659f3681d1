# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a lab's files are and which names and addresses it uses."""
import os
import re
from pathlib import Path

LAN_ADDRESS = "10.77.0.1"
LAN_PREFIX = 24
LAN_BRIDGE = "lan0"
API_PORT = 7791
LUNS = 4
LUN_BYTES = 4 << 30
ISCSI_LUNS = 2
ISCSI_BYTES = 1 << 30
ISCSI_TARGET = "iqn.2026-01.lab.vmferry:storage"

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
GUEST_BUILDER = REPOSITORY / "tests" / "guest" / "build-guest"
DEFAULT_BUILD = REPOSITORY / "build" / "release"


class LabError(Exception):
    """Something the user has to know; the text says what and where to look."""


def node_address(name):
    return f"10.77.0.{10 + int(name[1:])}"


def node_names(count):
    return [f"n{i}" for i in range(1, count + 1)]


class Layout:
    """The paths of one lab, all below its directory."""

    def __init__(self, name):
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
            raise LabError(f"lab name {name!r}: use a-z, 0-9 and '-', at most 31 characters")
        base = Path(os.environ.get("VMFERRY_LAB_DIR", "/tmp")).resolve()
        self.name = name
        self.directory = base / f"vmferry-lab-{name}"
        self.control = self.directory / "control.sock"
        self.power = self.directory / "power.sock"
        self.log = self.directory / "labd.log"
        self.settings = self.directory / "lab.json"
        self.shared = self.directory / "shared"
        self.luns = self.directory / "luns"
        self.tools = self.directory / "tools"
        self.token = self.directory / "token"

    def machine(self, name):
        """Directory of a node, or of the LAN's own machine ("lan")."""
        return self.directory / "machines" / name

    def lun(self, index):
        return self.luns / f"lun{index}.img"

    def iscsi_lun(self, index):
        return self.luns / f"iscsi{index}.img"
