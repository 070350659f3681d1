# SPDX-License-Identifier: GPL-2.0-or-later
"""vmferry, as it is and with the plain linear order of pages."""

import json
import subprocess
import time
from datetime import datetime

import guest
import nodes as lab_nodes
from cluster import wait_for
from errors import BenchError
from measure import Move

MOVE_SECONDS = 600
AREA = f"{lab_nodes.SHARED}/{guest.NAME}.vmf"
FAULTS = ("faults", "fault_p50_us", "fault_p99_us", "fault_p999_us", "fault_max_us")


class Vmferry:
    """A VM of vmferry's, moved by `vmferry migrate`."""

    name = "vmferry"
    pager_option = None

    def __init__(self, bench, spec):
        self._cluster, self._nodes, self._build = bench.cluster, bench.nodes, bench.build
        self._spec = spec

    def start(self):
        lab_nodes.choose_pager(self._nodes, self._build, self._option())
        path = self._nodes.layout.shared / f"{guest.NAME}.json"
        path.write_text(json.dumps(self._definition()), encoding="utf-8")
        self._cluster.vmferry("define", path)
        node = wait_for("the VM to run", lambda: self._cluster.node_of(guest.NAME), 60)
        return node

    def prepare(self, target):
        pass

    def move(self, source, target):
        asked = time.time()
        self._cluster.vmferry("migrate", guest.NAME, "--to", target, timeout=MOVE_SECONDS)
        command = time.time() - asked
        wait_for("the load to end", self._is_settled, MOVE_SECONDS, 0.2)
        done, loaded = self._event(asked, "move.done"), self._event(asked, "vm.loaded")
        last = self._cluster.show(guest.NAME)["last_move"]
        settled = max(asked + command, loaded["unix"] if loaded else 0.0)
        told = {"command_s": round(command, 3), "move": done["details"] if done else None,
                "bytes_written": last.get("bytes_written"), "mode": last.get("mode")}
        if loaded:
            told["load"] = loaded["details"]
            told["faults"] = {key: loaded["details"][key] for key in FAULTS
                              if key in loaded["details"]}
        return Move(asked, settled), told

    def remove(self):
        run = self._cluster.vmferry
        run("stop", guest.NAME, "--poweroff", check=False)
        run("discard", guest.NAME, check=False)
        run("undefine", guest.NAME, check=False)
        self._nodes.run(lab_nodes.NODES[0], "rm", "-f", AREA)

    def _option(self):
        """The pager's option; an old pager that does not know it is no peer."""
        if self.pager_option is None:
            return None
        program = f"{self._build}/migrate/vmferry-pager"
        told = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
        if self.pager_option not in told.stdout + told.stderr:
            raise BenchError(f"this vmferry-pager has no {self.pager_option}")
        return self.pager_option

    def _is_settled(self):
        shown = self._cluster.show(guest.NAME)
        return shown["state"] == "running" and not shown["loading"]

    def _event(self, since, kind):
        lines = self._cluster.vmferry("--json", "events").stdout.splitlines()
        for line in reversed(lines):
            event = json.loads(line)
            moment = datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()
            if event["type"] == kind and moment >= since and event.get("vm") == guest.NAME:
                return event | {"unix": moment}
        return None

    def _definition(self):
        return {
            "name": guest.NAME, "uuid": self._spec.uuid, "memory_mib": self._spec.ram_mib,
            "vcpus": 1, "cpu": guest.CPU, "machine": guest.MACHINE,
            "boot": guest.kind.boot,
            "nics": [{"bridge": "br0", "mac": guest.MAC}], "state_area": AREA, "on_stop": "save",
        }


class VmferryLinear(Vmferry):
    """Pages in the order of their addresses; only what is asked for comes before."""

    name = "vmferry-linear"
    pager_option = "--linear"
