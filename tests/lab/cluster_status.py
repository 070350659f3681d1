# SPDX-License-Identifier: GPL-2.0-or-later
"""What the cluster of a lab says about itself."""
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import control
import namespaces
from layout import LabError
from machines import Settings, node_environment

STONITH = "power"
POLL_SECONDS = 0.3
LOG_LINES = 15
LOGS = ("console.log", "corosync/corosync.log", "pacemaker/pacemaker.log", "vmferryd.log")


def read(layout):
    """Power, link and cluster state of all nodes, asked of the first node that answers."""
    state = control.request(layout, "state")
    environment = node_environment(Settings.load(layout))
    state["cluster"] = None
    for node in state["nodes"].values():
        if node["on"] and state["cluster"] is None:
            state["cluster"] = _ask(node["pid"], environment)
    return state


def is_up(state):
    """Quorate, all nodes online, a DC, and the fence device started."""
    cluster = state["cluster"]
    if cluster is None or not cluster["quorate"] or cluster["dc"] is None:
        return False
    online = all(cluster["nodes"].get(name, {}).get("online") for name in state["nodes"])
    return online and any(each["id"] == STONITH and each["role"] == "Started" and each["nodes"]
                          for each in cluster["resources"])


def wait_until_up(layout, seconds):
    deadline = time.monotonic() + seconds
    while True:
        state = read(layout)
        if is_up(state):
            return
        if time.monotonic() > deadline:
            raise LabError(f"the cluster is not up after {seconds:.0f} s: {state}\n"
                           + excerpts(layout, state["nodes"]))
        time.sleep(POLL_SECONDS)


def excerpts(layout, names):
    """The ends of the nodes' logs."""
    parts = []
    for name in names:
        for log in LOGS:
            path = Path(layout.machine(name)) / "log" / log
            if path.exists():
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                parts += [f"--- {path}", *lines[-LOG_LINES:]]
    return "\n".join(parts)


def _ask(pid, environment):
    try:
        result = namespaces.capture_inside(pid, ["crm_mon", "--one-shot", "--output-as=xml"],
                                           environment)
        if result.returncode != 0:
            return None
        return parse(ElementTree.fromstring(result.stdout))
    except (subprocess.TimeoutExpired, ElementTree.ParseError):
        return None


def parse(document):
    """What crm_mon's XML says."""
    dc = document.find("summary/current_dc")
    present = dc is not None and dc.get("present") == "true"
    return {
        "dc": dc.get("name") if present else None,
        "quorate": present and dc.get("with_quorum") == "true",
        "nodes": {node.get("name"): _parse_node(node) for node in document.findall("nodes/node")},
        "resources": [_parse_resource(each) for each in document.iterfind("resources//resource")],
    }


def _parse_node(node):
    """Pacemaker calls a node online that is in corosync only; here its Pacemaker has joined too."""
    parsed = {key: node.get(key) == "true" for key in ("online", "unclean", "standby", "pending")}
    parsed["online"] = parsed["online"] and not parsed["pending"]
    return parsed


def _parse_resource(resource):
    return {"id": resource.get("id"), "agent": resource.get("resource_agent"),
            "role": resource.get("role"), "failed": resource.get("failed") == "true",
            "nodes": [node.get("name") for node in resource.findall("node")]}
