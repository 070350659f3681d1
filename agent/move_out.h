// SPDX-License-Identifier: GPL-2.0-or-later
// A VM leaving this node, or only its memory: gives migrate/move_source its transport, storage,
// saver and QEMU.
#pragma once

#include "agent/vm.h"
#include "migrate/move_source.h"

enum { AGENT_MOVE_QUIT_MS = 2000 }; // for a QEMU that is not needed any more; then it is killed

// Prepares a move to PEER (rehearsal only); agent_move_out_go lets it go on. JOB is kept informed of
// phases and progress and ended by the caller; NULL: the move makes and ends one of its own.
// Waiters in vm->departs learn the end.
bool agent_move_out_rehearse(AgentVm *vm, const char *peer, AgentJob *job, GError **error);
void agent_move_out_go(AgentMoveOut *out);
// A plain save.
bool agent_move_out_save(AgentVm *vm, GError **error);
// After a restart of the agent; see ferry_source_recover.
void agent_move_out_recover(AgentVm *vm);
// How long the save takes at the very least, from now on; 0: not known.
unsigned agent_move_out_least_ms(const AgentMoveOut *out);
void agent_move_out_cancel(AgentMoveOut *out, const char *reason);
void agent_move_out_free(AgentMoveOut *out);

// The target, NULL for a plain save.
const char *agent_move_out_peer(const AgentMoveOut *out);
bool agent_move_out_is(const AgentMoveOut *out, const char *move);
bool agent_move_out_ready(const AgentMoveOut *out); // rehearsed, waits for go

void agent_move_out_message(AgentMoveOut *out, const FerryMessage *message);
void agent_move_out_peer_left(AgentMoveOut *out, FerryPeerLoss loss);
void agent_move_out_qemu_exited(AgentMoveOut *out);
void agent_move_out_run_state(AgentMoveOut *out, HvRunState state);
void agent_move_out_migration(AgentMoveOut *out, HvMigrationStatus status);
