# SPDX-License-Identifier: GPL-2.0-or-later
"""The network falls apart during a move: the minority never starts or resumes anything."""

import time

from cases_faults import FILL_MIB, Round
from cluster import wait_for
from faults import Fault, Injector, Oracle, watched_vm

# Until corosync has noticed (token 1 s, consensus 1.2 s) a node does not know that it is alone: what it
# commits until then it commits as a member.
NOTICED_S = 3
PHASES = ("save", "load", "clean")


class Partition(Round):
    """The node's link is cut, and healed when the majority has fenced it."""

    def do_fault(self):
        time.sleep(self.fault.delay_ms / 1000)
        self.cut_at = time.time()
        self.hit = self.injector.strike(self.fault, self.node, self.vm.name)
        wait_for(f"{self.node} to be fenced", self.was_fenced, 60, 0.2)
        time.sleep(self.fault.seconds)  # it boots, alone
        self.healed_at = time.time()
        self.injector.undo(self.fault, self.node, self.vm.name)

    def was_fenced(self):
        return any(line["what"] == "node-off" and line["node"] == self.node
                   for line in self.oracle.told(self.cut_at))

    def began_alone(self):
        """What began to execute the guest on the node while it was alone."""
        return [line for line in self.oracle.told(self.cut_at + NOTICED_S)
                if line["what"] == "runs" and line["node"] == self.node and
                line["at"] < self.healed_at]


def partitions(cluster, name, sides, phases, alone_s):
    vm = watched_vm(cluster, name).define()
    oracle, injector = Oracle(cluster, vm), Injector(cluster)
    for side in sides:
        for phase in phases:
            guest = vm.guest()
            guest.fill(FILL_MIB)
            guest.close()
            one = Partition(cluster, vm, oracle, injector,
                            Fault("cut", side, phase, 0, seconds=alone_s), lambda names: names[0])
            try:
                node, cold = one.run()
            except Exception:
                print(one.timeline(), flush=True)
                raise
            assert one.began_alone() == [], one.timeline()
            print(f"  {one.node}, the {side}, was cut off in {phase}: "
                  f"{'cold boot' if cold else 'memory kept'}, on {node}; "
                  f"{time.time() - one.began:.1f} s", flush=True)
    print(f"  {oracle.close()}")
    vm.remove()


def test_partition_during_a_move(cluster):
    partitions(cluster, "parted", ("source", "target"), PHASES, 3)
