// SPDX-License-Identifier: GPL-2.0-or-later
// A guest that runs here while its pages still come from the state area. Until the last one is
// there the record says CONSUMED, and nothing may be saved into the area.
#pragma once

#include "agent/vm.h"
#include "migrate/pager.h"

enum { AGENT_LOAD_RECOVER_MS = 10 * 1000 }; // for QEMU to notice that its pager is gone

// Follows the load of a VM that runs. Takes PAGER; NULL: a pager that an earlier agent started.
void agent_load_begin(AgentVm *vm, FerryPager *pager);
// Its pager had ended before the load was begun here.
void agent_load_failed(AgentVm *vm, const GError *error);
// QEMU says how its load stands.
void agent_load_migration(AgentVm *vm, HvMigrationStatus status);
// The pager, if it still works, goes on without us: the guest depends on it.
void agent_load_free(AgentLoad *load);

// Whether a save or move has to wait; vm->loads is woken when not any more.
bool agent_load_pending(const AgentVm *vm);
// A save or move that has to wait makes the load go as fast as the storage can. KIND ("save",
// "migrate"): it has no job of its own yet, and gets one in the phase "finish-load"; NULL: JOB is
// its job, which lasts until the load is over.
void agent_load_hurry(AgentVm *vm, const char *kind, AgentJob *job);
// The job that waited for the load, for the save or move that begins; NULL: there is none.
AgentJob *agent_load_take_job(AgentVm *vm);
// That save or move will not be; nothing where no job waits.
void agent_load_end_job(AgentVm *vm, const GError *error);
// Writes the record of a load that is over, again where that failed; call every few seconds.
void agent_load_settle(AgentVm *vm);
