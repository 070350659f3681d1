// SPDX-License-Identifier: GPL-2.0-or-later
// A VM that stays where it is although its move was asked for and begun. To Pacemaker a failed
// migrate_to is a failed resource: it would stop it, which saves it, and start it again somewhere. So
// the resource is held before the failure is told, and let go when that is forgotten.
#pragma once

#include "agent/vm.h"

enum {
    AGENT_STAY_HOLD_S = 60,             // at most, should vmferryd end meanwhile
    AGENT_STAY_PATIENCE_MS = 15 * 1000, // for Pacemaker's record of the failure
};

// DONE once Pacemaker leaves the VM alone; with an error where it could not be held.
void agent_stay_begin(AgentVm *vm, AgentVmDone done, gpointer data);
// The move has ended, after all the VM has moved or (STAYED) its failure is told to Pacemaker now.
// Nothing where agent_stay_begin was not called.
void agent_stay_end(AgentVm *vm, bool stayed);
void agent_stay_free(AgentStay *stay);
