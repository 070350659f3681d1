# SPDX-License-Identifier: GPL-2.0-or-later
"""All that are compared."""

from peer_qemu import QemuSave
from peer_vmferry import Vmferry, VmferryLinear
from peer_virtualdomain import (VirtualDomainLive, VirtualDomainSave, VirtualDomainSaveDefault)

TEXTS = {
    "virtualdomain-save": "Pacemaker, ocf:heartbeat:VirtualDomain with snapshot=, timeouts of 600 s",
    "virtualdomain-save-default": "the same with Pacemaker's own timeouts of 20 s: not usual; it differs "
                                  "only\n"
                                  "                              where saving takes longer, and fails",
    "qemu-save": "QEMU's own save and load by a script, no cluster manager",
    "virtualdomain-live": "Pacemaker, VirtualDomain, live migration over TCP",
    "vmferry-linear": "vmferry, pages in linear order",
    "vmferry": "vmferry as it is",
}
BY_NAME = {peer.name: peer for peer in (VirtualDomainSave, VirtualDomainSaveDefault, QemuSave,
                                        VirtualDomainLive, VmferryLinear, Vmferry)}
USUAL = tuple(name for name in BY_NAME if name != VirtualDomainSaveDefault.name)
assert set(TEXTS) == set(BY_NAME)
