# SPDX-License-Identifier: GPL-2.0-or-later
"""All that are compared."""

from peer_qemu import QemuSave, Rest
from peer_vmferry import Vmferry, VmferryLinear
from peer_virtualdomain import (VirtualDomainLive, VirtualDomainLiveSafe, VirtualDomainSave,
                                VirtualDomainSaveDefault)

TEXTS = {
    "virtualdomain-save": "Pacemaker, ocf:heartbeat:VirtualDomain with snapshot=, timeouts of 600 s",
    "virtualdomain-save-default": "the same with Pacemaker's own timeouts of 20 s (not usual: it fails "
                                  "where\nsaving takes longer, and is no different elsewhere)",
    "qemu-save": "QEMU's own save and load by a script, no cluster manager",
    "virtualdomain-live": "Pacemaker, VirtualDomain, live migration over TCP (usual at dirty rate 0)",
    "virtualdomain-live-safe": "the same, not hit by QEMU's losing of writes under TCG (usual at other\n"
                               "rates, where without it the guest crashes)",
    "rest": "the guest is left alone, on one node: what the machine and the measurement themselves\n"
            "show (not usual)",
    "vmferry-linear": "vmferry, pages in linear order",
    "vmferry": "vmferry as it is",
}
BY_NAME = {peer.name: peer for peer in (VirtualDomainSave, VirtualDomainSaveDefault, QemuSave,
                                        VirtualDomainLive, VirtualDomainLiveSafe, Rest,
                                        VmferryLinear, Vmferry)}
LIVE = (VirtualDomainLive.name, VirtualDomainLiveSafe.name)
assert set(TEXTS) == set(BY_NAME)


def is_usual(name, dirty_mb_s):
    """Whether a case belongs to the comparison, where nothing else is asked for."""
    if name in LIVE:
        return name == LIVE[dirty_mb_s > 0]
    return name not in (VirtualDomainSaveDefault.name, Rest.name)
