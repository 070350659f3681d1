# SPDX-License-Identifier: GPL-2.0-or-later
"""Pacemaker's odd paths: a move that fails, is disturbed, or meets another one. tests/pacemaker has what the
scheduler makes of each."""

import signal
import threading

from cases_agent import settled
from cluster import NODES, Vm, wait_for
from faults import Injector, move_meanwhile
from phases import begin_move


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


def nothing_left_behind(cluster, *more):
    """Neither a constraint nor a hold, nor what MORE has of the CIB."""
    def gone():
        cib = cluster.cib()
        return not any(text in cib for text in ("vmferry-move-", "vmferry-hold-", *more))

    wait_for(f"nothing of {('constraint', 'hold', *more)} left", gone, 60, 0.5)


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
    nothing_left_behind(cluster, 'id="unmoved_migrate_to_0"')
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


def disturbed(cluster, name, phase, act):
    """A move in which ACT(one) is done to Pacemaker; whatever it makes of that, the memory is kept."""
    one = Guarded(cluster, name)
    seen, move = move_meanwhile(cluster, one.vm, one.source, one.target, phase, lambda: act(one))
    assert seen, f"the phase {phase} was not reached: {move.stderr}"
    node = one.is_whole()
    nothing_left_behind(cluster)
    assert one.is_whole() == node, "it did not stay there"
    how = "done" if move.returncode == 0 else move.stderr.strip().splitlines()[-1]
    print(f"  {one.source} -> {one.target}, in {phase}: on {node}; {how}", flush=True)
    return one


def force_stop(cluster, node, name):
    cluster.on(node, "crm_resource", "--resource", name, "--force-stop", check=False)


def test_force_stop(cluster):
    """Behind Pacemaker's back: its next monitor finds the VM stopped, and the start restores it."""
    one = Guarded(cluster, "forced")
    force_stop(cluster, one.source, "forced")
    assert cluster.qemus("forced") == []
    one.is_whole()
    one.vm.remove()


def test_force_stop_during_a_move(cluster):
    for phase in ("save", "clean"):
        one = disturbed(cluster, "forced", phase,
                        lambda one: force_stop(cluster, one.source, "forced"))
        one.vm.remove()


def test_cleanup_during_a_move(cluster):
    """The history goes while migrate_to runs, and every node is probed."""
    def forget(one):
        cluster.on(one.third, "crm_resource", "--resource", "forgotten", "--cleanup", check=False)
        cluster.on(one.third, "crm_resource", "--resource", "forgotten", "--refresh", check=False)

    for phase in ("save", "clean"):
        one = disturbed(cluster, "forgotten", phase, forget)
        one.vm.remove()


def test_target_goes_standby_half_way(cluster):
    for phase in ("save", "clean"):
        def standby(one):
            cluster.vmferry("standby", one.target)
            unlike.append(one.target)

        unlike = []
        try:
            one = disturbed(cluster, "refugee", phase, standby)
            assert one.is_whole() not in unlike, "it runs on a node in standby"
        finally:
            for node in unlike:
                cluster.vmferry("unstandby", node)
        cluster.wait_online()
        one.vm.remove()


def test_moves_that_cross(cluster):
    """Two VMs change places at the same time."""
    first = Guarded(cluster, "over")
    second = Guarded(cluster, "under")
    if second.source == first.source:
        cluster.vmferry("migrate", "under", "--to", first.target)
        second.source = second.is_whole()
    since = cluster.last_event()
    moves = [begin_move(first.vm, second.source), begin_move(second.vm, first.source)]
    errors = [move.communicate(timeout=120)[1] for move in moves]
    assert [move.returncode for move in moves] == [0, 0], errors
    assert (first.is_whole(), second.is_whole()) == (second.source, first.source)
    for name in ("over", "under"):
        assert "move.done" in [kind for kind, _ in cluster.events_of(name, since)]
    nothing_left_behind(cluster)
    first.vm.remove()
    second.vm.remove()
