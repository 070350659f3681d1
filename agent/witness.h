// SPDX-License-Identifier: GPL-2.0-or-later
// The newest epoch of each VM is in the CIB, too. A state area that was replaced by an older copy (a
// file restored from a backup, a LUN's snapshot) is consistent in itself, and may say that memory is
// saved; loading it over disks that are newer would destroy them. Main-loop thread only.
#pragma once

#include "agent/vm.h"

// Whether RECORD, which was just read, is as new as what the cluster has seen; else
// AGENT_ERROR_REFUSED with the way out.
bool agent_witness_allows(const AgentVm *vm, const FerryRecord *record, GError **error);

// Writes what the CIB does not know yet of the VMs that run here. Every few seconds: an epoch is new
// once a start or a move, and a change of the CIB in the middle of either makes Pacemaker think again: it
// may start a VM that is on its way.
void agent_witness_sweep(Agent *agent);
