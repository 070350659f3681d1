// SPDX-License-Identifier: GPL-2.0-or-later
// A VM with a file system that only its owner mounts goes to another node: its memory is saved, it
// is stopped and its file system unmounted, and only then mounted there, where it goes on from its
// memory. Pacemaker stops and starts it (its resource has allow-migrate=false), on the node that a
// constraint names meanwhile.
#pragma once

#include "agent/migrate.h"

enum {
    AGENT_RELOCATE_BEGIN_MS = 60 * 1000, // until Pacemaker stops it
    AGENT_RELOCATE_S = 720,              // in all
};

// TOUCHED: Pacemaker was asked to move it; else only the rehearsal said no. RESULT (owned by the
// callee's caller) is NULL on failure.
typedef void (*AgentRelocated)(json_t *result, bool touched, const GError *error, gpointer data);

// From this node to NODE. DONE once, later; until then VM's stop saves.
void agent_relocate(AgentVm *vm, const char *node, AgentJob *job, AgentRelocated done,
                    gpointer data);
