// SPDX-License-Identifier: GPL-2.0-or-later
// Long operations as an admin follows them. A job runs on one node; every agent knows all jobs, by
// the updates its owner broadcasts. Finished jobs are kept for an hour, 200 at most. Main-loop
// thread only.
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

typedef struct AgentJobs AgentJobs;
typedef struct AgentJob AgentJob; // a job of this node; owned by AgentJobs

// JOB (borrowed) as the API shows it: {"id":"n1-7","kind":"migrate","vm":"a","node":"n1",
// "state":"running|done|failed","phase":"save","bytes_done":0,"bytes_total":0,"rate":0 (bytes/s),
// "eta_s":1.5|null,"expected_blackout_ms":40.0|null,"expected_blackout_margin_ms":10.0|null,"started":"...Z","ended":"...Z"|null,"error":"..."|null,"result":{...}|null}
typedef void (*AgentJobChangedFn)(json_t *job, gpointer data);

// CHANGED is called for each change of a job of this node, at most 5 times a second for progress
// and always for a new phase and for the end.
AgentJobs *agent_jobs_new(const char *node, AgentJobChangedFn changed, gpointer data);
void agent_jobs_free(AgentJobs *jobs);

AgentJob *agent_job_start(AgentJobs *jobs, const char *kind, const char *vm);
const char *agent_job_id(const AgentJob *job);
void agent_job_phase(AgentJob *job, const char *phase);
void agent_job_progress(AgentJob *job, guint64 bytes_done, guint64 bytes_total);
// How long the guest is going to be paused. Told with the next progress or phase.
void agent_job_forecast(AgentJob *job, double blackout_ms, double margin_ms);
// Ends the job; it must not be used afterwards. ERROR (borrowed) NULL = done. Takes RESULT.
void agent_job_end(AgentJob *job, const GError *error, json_t *result);

// What another node broadcast (borrowed).
void agent_jobs_update_remote(AgentJobs *jobs, json_t *job);
// Marks the running jobs of a node that was lost as failed.
void agent_jobs_node_lost(AgentJobs *jobs, const char *node);
json_t *agent_jobs_list(AgentJobs *jobs);                 // new reference, newest first
json_t *agent_jobs_get(AgentJobs *jobs, const char *id);  // new reference or NULL
