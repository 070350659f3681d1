# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths to the storage that are lost in the middle of a move: one of two, and both."""
import subprocess
import time

from vmcluster import LabVm, ready_paths, wait_for, watched

MOVE_SECONDS = 420
# A path is given up after noop_out_interval + noop_out_timeout + replacement_timeout, and the map after
# no_path_retry x polling_interval: docs/FENCING.md. Twice that, for a machine this slow.
PATHS_SECONDS = 120


def begin_move(cluster, vm, target):
    """The command, once the save is under way."""
    command = subprocess.Popen(["vmferry", "migrate", vm.name, "--to", target], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    wait_for("the save to begin", lambda: cluster.show(vm.name).get("record_state") in ("saving", "sealed")
             or command.poll() is not None, 120, 0.05)
    assert command.poll() is None, f"the move was over at once: {command.communicate()[0]}"
    return command


def wait_paths(cluster, node):
    wait_for(f"both paths on {node}", lambda: ready_paths(cluster, node, LabVm.area) == 2, PATHS_SECONDS, 1)


def test_one_path_cut_during_move(cluster):
    vm, watcher, boot, total = watched(cluster, "onepath")
    source = vm.node()
    target = cluster.other(source)
    begin = time.monotonic()
    move = begin_move(cluster, vm, target)
    cluster.lab("cut", source, "san1")
    cluster.lab("cut", target, "san2")  # each node is left with another one
    out, _ = move.communicate(timeout=MOVE_SECONDS)
    print(f"  san1 cut on {source} and san2 on {target} while it saved: {time.monotonic() - begin:.0f} s, "
          f"exit code {move.returncode}")
    assert move.returncode == 0, out
    assert vm.node() == target
    guest = vm.guest()
    guest.socket.settimeout(300)
    assert guest.counter()[1] == boot and guest.sum() == total
    guest.close()
    for node in cluster.names:
        cluster.lab("heal", node)
    for node in cluster.names:
        wait_paths(cluster, node)
    assert vm.records() == 10
    print("  %d records of %d boot(s), none lost" % watcher.check())
    vm.remove()


def test_both_paths_cut_during_move(cluster):
    """The source cannot write any more: it goes on there once it can, or starts elsewhere by the rules."""
    vm, watcher, boot, total = watched(cluster, "bothpaths")
    source = vm.node()
    target = cluster.other(source)
    move = begin_move(cluster, vm, target)
    since = cluster.last_event()
    for san in ("san1", "san2"):
        cluster.lab("cut", source, san)
    cut = time.monotonic()

    def gave_up():
        phases = [message for kind, message in cluster.events_of(vm.name, since) if kind == "move.phase"]
        return move.poll() is not None or f"{vm.name}: return" in phases

    wait_for("the source to give the save up", gave_up, PATHS_SECONDS, 1)
    print(f"  both cut on {source}: it gave the save up after {time.monotonic() - cut:.0f} s", flush=True)
    for san in ("san1", "san2"):
        cluster.lab("heal", source, san)
    healed = time.monotonic()
    out, _ = move.communicate(timeout=MOVE_SECONDS)
    print(f"  {time.monotonic() - healed:.0f} s after the paths were back the command ended with {move.returncode}: "
          f"{out.strip().splitlines()[-1:]}", flush=True)
    node = wait_for("the VM to run somewhere", vm.node, MOVE_SECONDS, 1)
    again = vm.boot_of() != boot
    guest = vm.guest()
    guest.socket.settimeout(300)
    assert again or guest.sum() == total, "the guest's memory changed"
    guest.close()
    print(f"  on {node} after {time.monotonic() - cut:.0f} s, {'booted anew' if again else 'with its memory'}")
    assert vm.records() == 10
    print("  %d records of %d boot(s), none lost" % watcher.check())
    cluster.wait_online()
    vm.remove()
