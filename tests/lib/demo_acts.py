# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo's acts, played in the lab's LAN: a planned move, then a power cut.

usage: demo_acts.py LAB-NAME. Prints the report's parts as JSON, one a line; "failed" lists what did
not hold."""

import json
import signal
import sys
from pathlib import Path

sys.dont_write_bytecode = True
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "cluster"), str(TESTS / "lab")]

import demo_failure
import demo_move
from cluster import Cluster, CommandFailed, Vm, wait_for

SOURCE, TARGET = "n1", "n2"
MEMORY_MIB = 1024
FILL_MIB = 256
SETTLE_SECONDS = 60


def set_stage(cluster):
    """A VM on SOURCE with something in its memory that can be compared."""
    print(f"starting a VM of {MEMORY_MIB} MiB", file=sys.stderr)
    cluster.wait_online()
    vm = Vm(cluster, "demo", memory_mib=MEMORY_MIB).define()
    guest = vm.guest()
    guest.fill(FILL_MIB)
    guest.close()
    wait_for("the VM to run", lambda: cluster.node_of(vm.name), SETTLE_SECONDS)
    if cluster.node_of(vm.name) != SOURCE:
        cluster.vmferry("migrate", vm.name, "--to", SOURCE)
    wait_for(f"the VM on {SOURCE}", lambda: cluster.node_of(vm.name) == SOURCE, SETTLE_SECONDS)
    return vm


def stage_of(cluster, vm):
    node = cluster.json("node", SOURCE)
    return {"nodes": cluster.online(), "vm": vm.name, "memory_mib": MEMORY_MIB,
            "filled_mib": FILL_MIB, "runs_on": SOURCE, "qemu": node["qemu_version"],
            "accelerator": node["accelerator"]}


def play(cluster):
    """Yields the report's parts."""
    vm = set_stage(cluster)
    yield {"stage": stage_of(cluster, vm)}
    act, failed = demo_move.play(cluster, vm, SOURCE, TARGET)
    yield {"move": act}
    if not failed:
        act, failed = demo_failure.play(cluster, vm, TARGET, SOURCE)
        yield {"failure": act}
    yield {"failed": failed}


def main(lab_name):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what we started, too
    try:
        for part in play(Cluster(lab_name)):
            print(json.dumps(part), flush=True)
    except (AssertionError, CommandFailed) as error:
        print(json.dumps({"failed": [str(error).strip()]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
