// SPDX-License-Identifier: GPL-2.0-or-later
// A VM arriving on this node, or restored from its sealed image: gives migrate/move_target its
// transport, storage, pager and QEMU.
#pragma once

#include "agent/vm.h"
#include "migrate/move_target.h"

// FROM rehearses a move to here. The answer goes out by itself; a refusal that needs no QEMU too.
void agent_move_in_rehearse(Agent *agent, const char *from, const FerryMessage *message);
// Restores from RECORD (sealed) and ends in agent_vm_start_restored.
void agent_move_in_restore(AgentVm *vm, const FerryRecord *record);
void agent_move_in_cancel(AgentMoveIn *in, const char *reason);
void agent_move_in_free(AgentMoveIn *in);

const char *agent_move_in_source(const AgentMoveIn *in); // NULL for a restore
bool agent_move_in_is(const AgentMoveIn *in, const char *move);
bool agent_move_in_committed(const AgentMoveIn *in);

void agent_move_in_message(AgentMoveIn *in, const FerryMessage *message);
void agent_move_in_peer_left(AgentMoveIn *in);
void agent_move_in_qemu_exited(AgentMoveIn *in);
void agent_move_in_run_state(AgentMoveIn *in, HvRunState state);
void agent_move_in_migration(AgentMoveIn *in, HvMigrationStatus status);
