// SPDX-License-Identifier: GPL-2.0-or-later
// A guest that runs while its pages come, one of which turns out damaged: it cannot go on, and its
// image is not to be used again.
#pragma once

#include "agent/vm.h"

enum { AGENT_QUARANTINE_AGAIN_MS = 1000, AGENT_QUARANTINE_TRIES = 30 }; // to write the record

typedef struct AgentQuarantine AgentQuarantine;

// Ends VM's QEMU; once it is proven gone the record says QUARANTINED and Pacemaker is told, so that
// nothing starts the VM before an admin has looked. WHY (borrowed) names the area and the place.
void agent_quarantine_begin(AgentVm *vm, const GError *why);
void agent_quarantine_qemu_exited(AgentVm *vm);
// VM's QEMU is gone: whether an earlier vmferryd ended it for this and was not through. Then it
// goes on.
bool agent_quarantine_resume(AgentVm *vm);
void agent_quarantine_free(AgentQuarantine *quarantine);
