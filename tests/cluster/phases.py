# SPDX-License-Identifier: GPL-2.0-or-later
"""Waits for a phase of a move, to the millisecond."""

import json
import queue
import subprocess
import threading
import time

from cluster import NODES, TOP

AFTER_S = 0.5  # the events of a move that has ended come at once, if at all


def begin_move(vm, target):
    return subprocess.Popen([str(TOP / "build/release/migrate/command/vmferry"), "migrate", vm.name,
                             "--to", target], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True)


class Phases:
    """The VM's phases from now on, as each node's own vmferryd tells them: around the pause the others hear
    of them a moment later."""

    def __init__(self, cluster, vm):
        self.vm = vm
        self.seen = queue.Queue()
        self.followers = [cluster.follow_events(node) for node in NODES]
        for follower in self.followers:
            threading.Thread(target=self._read, args=(follower,), daemon=True).start()

    def _read(self, follower):
        for line in follower.stdout:
            event = json.loads(line)
            if event.get("vm") == self.vm and "phase" in event.get("details", {}):
                self.seen.put(event["details"]["phase"])

    def wait(self, phase, seconds, command=None):
        """Whether the phase began in time, and before COMMAND, a process, ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if command is not None and command.poll() is not None:
                end = min(end, time.monotonic() + AFTER_S)
                command = None
            try:
                if self.seen.get(timeout=0.05) == phase:
                    return True
            except queue.Empty:
                pass
        return False

    def close(self):
        for follower in self.followers:
            follower.terminate()
            follower.wait()


def move_to_phase(phases, vm, target, phase, seconds=60):
    """The command of a move once it has got to PHASE, else None and what it said when it ended. Just after a
    failed move it may be told to wait."""
    for _ in range(30):
        move = begin_move(vm, target)
        if phases.wait(phase, seconds, move):
            return move, ""
        move.terminate()
        said = move.communicate()[1].strip()
        if "try again in some seconds" not in said:
            break
    return None, said
