// SPDX-License-Identifier: GPL-2.0-or-later
// How a VM's save goes on its way: the downtime limit QEMU gets, whether passes still help
// (migrate/convergence), and what blackout is to be expected (migrate/forecast).
#pragma once

#include "agent/jobs.h"
#include "agent/vm.h"
#include "migrate/convergence.h"
#include "migrate/forecast.h"
#include "migrate/saver.h"

typedef struct AgentPace AgentPace;

// For a move to PEER, or a plain save (NULL), whose blackout lasts to the next start: there is no
// forecast of it. JOB is told the forecast.
AgentPace *agent_pace_new(AgentVm *vm, const char *peer, AgentJob *job);
void agent_pace_free(AgentPace *pace);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AgentPace, agent_pace_free)

// Before hv_vm_save: sets what it throttles up to, and says its downtime limit.
unsigned agent_pace_begin(AgentPace *pace);
void agent_pace_saver(AgentPace *pace, const FerrySaverProgress *progress);
// Of a migration that is active. False: no further pass helps. May change QEMU's downtime limit.
bool agent_pace_sample(AgentPace *pace, const HvMigration *migration);
// How long the save takes at the least, from now on; 0: not known.
unsigned agent_pace_least_ms(const AgentPace *pace);
// The guest is going to be paused whatever is left.
void agent_pace_force(AgentPace *pace);

// "its memory changes by ..."; the caller frees it.
char *agent_pace_describe(const AgentPace *pace);
// "expected blackout 40 ms +- 10 ms", NULL where there is no forecast; the caller frees it.
char *agent_pace_text(const AgentPace *pace);
// Adds the forecast to an event's or result's DETAILS, as null where there is none.
void agent_pace_tell(const AgentPace *pace, json_t *details);
// After the move: learns from BLACKOUT_MS (0 = there was none) and adds to RESULT what the next
// forecast needs, on whichever node that is.
void agent_pace_end(AgentPace *pace, double blackout_ms, const char *mode, json_t *result);
