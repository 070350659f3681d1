// SPDX-License-Identifier: GPL-2.0-or-later
// What the agent does, as the HTTP API and the resource agent's socket ask for it. Main-loop thread
// only. Reply functions are called exactly once, at once or later.
#pragma once

#include "agent/error.h"
#include "agent/events.h"
#include "agent/jobs.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct Agent Agent;

// Between a guest's arrival and what Pacemaker does next: on small nodes it would take CPU time from
// the guest just when that has the most to do.
enum { AGENT_ARRIVAL_MS = 400 };

// RESULT is borrowed (NULL on error); ERROR is borrowed (NULL on success).
typedef void (*AgentReplyFn)(json_t *result, const GError *error, gpointer data);

AgentEvents *agent_events(Agent *agent);
AgentJobs *agent_jobs(Agent *agent);

json_t *agent_service_cluster(Agent *agent); // new reference
// New references. AGENT_ERROR_NOT_JOINED: this node does not know the cluster's nodes and VMs yet.
json_t *agent_service_nodes(Agent *agent, GError **error); // array
json_t *agent_service_vms(Agent *agent, GError **error);   // array
json_t *agent_service_vm(Agent *agent, const char *name, GError **error);
// The unix socket of VM's serial console on this node; AGENT_ERROR_CONFLICT names the node that has
// it. The caller frees.
char *agent_service_console(Agent *agent, const char *name, GError **error);

// Creates the VM (or, where UPDATE, changes its definition) from DEFINITION (any JSON text).
// RESULT: {"name":...}; for an update also "pending": "keys" where a restart is needed.
void agent_service_define(Agent *agent, const char *definition, size_t length, bool update,
                          bool start, AgentReplyFn reply, gpointer data);
void agent_service_undefine(Agent *agent, const char *name, AgentReplyFn reply, gpointer data);
// These answer as soon as the job is under way: {"job":"n1-7"}.
void agent_service_start(Agent *agent, const char *name, AgentReplyFn reply, gpointer data);
// MODE: "save", "shutdown", "poweroff" or NULL for the definition's on_stop.
void agent_service_stop(Agent *agent, const char *name, const char *mode, AgentReplyFn reply,
                        gpointer data);
// Saves, then stays stopped (as stop with mode save).
void agent_service_save(Agent *agent, const char *name, AgentReplyFn reply, gpointer data);
// TO: node name, or NULL for the best node that passes the rehearsal.
void agent_service_migrate(Agent *agent, const char *name, const char *to, AgentReplyFn reply,
                           gpointer data);
// Throws away saved memory that cannot be loaded (state quarantined or sealed): the next start is a
// cold one.
void agent_service_discard(Agent *agent, const char *name, AgentReplyFn reply, gpointer data);
// Node standby on/off; RESULT {}.
void agent_service_standby(Agent *agent, const char *node, bool standby, AgentReplyFn reply,
                           gpointer data);

// What is missing or dangerous in the cluster: RESULT as doctor_judge has it (agent/doctor_report.h),
// within DOCTOR_WAIT_MS. AGENT_ERROR_UNAVAILABLE: this node cannot look at the cluster.
void agent_service_doctor(Agent *agent, AgentReplyFn reply, gpointer data);

// VMs' storage on all nodes with a vmferryd, or on NODE: ACTION "report" (VM NULL: of all), "login" or
// "logout" (of VM). RESULT: [{"node", "vm" (null where the node said nothing), "storage", "error"}] as
// agent/storage.h has it. AGENT_ERROR_NOT_FOUND: no such VM or node.
void agent_service_storage(Agent *agent, const char *action, const char *vm, const char *node,
                           AgentReplyFn reply, gpointer data);

// --- the resource agent's requests ---
typedef struct {
    const char *op; // start stop monitor migrate_to migrate_from reload-agent validate-all
    const char *vm;
    const char *definition; // JSON text
    const char *peer;       // migrate_to: target node; migrate_from: source node; else NULL
    unsigned timeout_ms;    // within which an answer is of use
    bool probe;
} AgentRaRequest;

// OCF: an OCF 1.1 exit code (0 success, 1 generic, 6 configured, 7 not running, ...).
typedef void (*AgentRaReplyFn)(int ocf, const char *message, gpointer data);
// REQUEST's strings are borrowed for the call only.
void agent_service_ra(Agent *agent, const AgentRaRequest *request, AgentRaReplyFn reply,
                      gpointer data);
