# SPDX-License-Identifier: GPL-2.0-or-later
"""Pacemaker's odd paths: a move that fails, is disturbed, or meets another one. tests/pacemaker has what the
scheduler makes of each."""

import signal
import threading
import time

from cases_agent import settled
from cluster import NODES, Vm, run, wait_for
from faults import Injector, move_meanwhile


class Guarded:
    """A guest with something to lose."""

    def __init__(self, cluster, name, **overrides):
        self.cluster, self.vm = cluster, Vm(cluster, name, **overrides).define()
        guest = self.vm.guest()
        guest.fill(64)
        (self.counter, self.boot), self.sum = guest.counter(), guest.sum()
        guest.close()
        self.source = wait_for("the VM to be settled", lambda: settled(cluster, name), 60, 0.3)
        self.target, self.third = (node for node in NODES if node != self.source)
        self.pid = cluster.show(name)["pid"]

    def is_whole(self):
        """On exactly one node, which is returned, with the memory it had."""
        node = wait_for(f"{self.vm.name} on exactly one node",
                        lambda: settled(self.cluster, self.vm.name), 120, 0.3)
        guest = self.vm.guest()
        counter, boot = guest.counter()
        assert boot == self.boot, "the guest was booted anew"
        assert counter > self.counter and guest.sum() == self.sum, "the guest's memory changed"
        guest.close()
        return node


def nothing_left_behind(cluster, vm):
    """Neither a constraint nor a hold nor a failure of its move."""
    wait_for("no constraint, hold or failed migrate_to left", lambda: not any(
        text in cluster.on(cluster.online()[0], "cibadmin", "--query").stdout
        for text in ("vmferry-move-", "vmferry-hold-", f'id="{vm}_migrate_to_0"')), 60, 0.5)


def kill_saver(cluster, node):
    """The first one that is there."""
    injector = Injector(cluster)
    wait_for("a saver to be killed",
             lambda: injector.signal(node, "vmferry-saver", signal.SIGKILL), 10, 0.01)


def test_failed_move_costs_the_guest_nothing(cluster):
    """Pacemaker recovers from a failed migrate_to by a stop and a start; here nothing has to be recovered.
    And it takes the VM to be on both nodes where that recovery is done within the same second."""
    one = Guarded(cluster, "unmoved")
    seen, move = move_meanwhile(cluster, one.vm, one.source, one.target, "save",
                                lambda: kill_saver(cluster, one.source))
    assert seen and move.returncode != 0 and "vmferry-saver" in move.stderr, move
    nothing_left_behind(cluster, "unmoved")
    assert one.is_whole() == one.source
    assert cluster.show("unmoved")["pid"] == one.pid, "the guest was saved and started again"
    since = cluster.last_event()
    cluster.vmferry("migrate", "unmoved", "--to", one.target)
    assert one.is_whole() == one.target
    kinds = [kind for kind, _ in cluster.events_of("unmoved", since)]
    assert "move.done" in kinds and "vm.saved" not in kinds, kinds
    one.vm.remove()


def test_stop_saves_again(cluster):
    """A save that fails is tried again before the guest is shut down."""
    one = Guarded(cluster, "saved")
    since = cluster.last_event()
    killer = threading.Thread(target=kill_saver, args=(cluster, one.source))
    killer.start()
    cluster.vmferry("stop", "saved", "--save")
    killer.join()
    kinds = [kind for kind, _ in cluster.events_of("saved", since)]
    assert "move.given-up" in kinds and "vm.saved" in kinds, kinds
    cluster.vmferry("start", "saved")
    one.is_whole()
    one.vm.remove()
