// SPDX-License-Identifier: GPL-2.0-or-later
// A move that an admin asked for, on the node that runs the VM: rehearse first, only then let
// Pacemaker move the resource, and leave no constraint behind.
#pragma once

#include "agent/vm.h"

enum {
    AGENT_MIGRATE_LIFETIME_S = 720,      // of the constraint, should everything else fail
    AGENT_MIGRATE_SETTLE_MS = 20 * 1000, // Pacemaker's migrate_from and stop after the move
};

// TO NULL: the node with the most free memory whose rehearsal says yes.
void agent_migrate_request(Agent *agent, const char *name, const char *to, AgentReplyFn reply,
                           gpointer data);
void agent_migrate_ready(AgentVm *vm);   // the rehearsal said yes
void agent_migrate_settled(AgentVm *vm); // Pacemaker's last step of a move came by: stop
// Removes constraints that no job needs any more; call every few seconds.
void agent_migrate_sweep(Agent *agent);
