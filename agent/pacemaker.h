// SPDX-License-Identifier: GPL-2.0-or-later
// Pacemaker: VMs as resources of the cluster. The only file that includes Pacemaker's headers is
// pacemaker.c. Main-loop thread only; DONE functions are called exactly once, later, from the main
// loop (those still waiting by agent_pacemaker_free, with AGENT_ERROR_UNAVAILABLE; they must not
// use PACEMAKER then). DONE and CHANGED may free PACEMAKER.
//
// Errors of every DONE: AGENT_ERROR_INVALID (a name that cannot be an XML id, or the result would
// not validate against Pacemaker's schema), AGENT_ERROR_NOT_FOUND, AGENT_ERROR_CONFLICT,
// AGENT_ERROR_UNAVAILABLE (not connected, no quorum, or the connection was lost before the answer:
// then it may have been done), AGENT_ERROR_TIMEOUT (likewise), AGENT_ERROR_FAILED.
#pragma once

#include "agent/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    AGENT_CIB_S = 30,        // for one change or query
    AGENT_CONTROLLER_S = 10, // for a failure that is reported
    AGENT_TOOL_S = 60,       // for crm_resource
};

typedef struct AgentPacemaker AgentPacemaker;
typedef void (*AgentPacemakerDone)(const GError *error, gpointer data);

typedef struct {
    // The configuration or a node's state in the CIB changed, or the connection came or went; read
    // the getters again. Coalesced.
    void (*changed)(gpointer data);
} AgentPacemakerEvents;

// Connects to the CIB (and reconnects every second until it answers). One per process.
AgentPacemaker *agent_pacemaker_new(const AgentPacemakerEvents *events, gpointer data);
void agent_pacemaker_free(AgentPacemaker *pacemaker);
bool agent_pacemaker_connected(const AgentPacemaker *pacemaker);
// Whether NODE, this one, is online by the last CIB seen, which is the cluster's then. Before that, it is
// what the node had on its own disk, or empty, or without what the other nodes do.
bool agent_pacemaker_joined(const AgentPacemaker *pacemaker, const char *node);

// [{"name":"vm1","definition":"{...}","target_role":"Started|Stopped","managed":true}] for each
// primitive of class ocf:vmferry:VirtualMachine, from the last CIB seen; new reference.
json_t *agent_pacemaker_resources(const AgentPacemaker *pacemaker);
// [{"name":"n1","online":true,"standby":false,"maintenance":false,"dc":true,"pending_fence":false}]
json_t *agent_pacemaker_nodes(const AgentPacemaker *pacemaker);
// {"dc":"n1","have_quorum":true,"stonith_enabled":true,"cluster_name":"...","version":"2.1.5"}
json_t *agent_pacemaker_cluster(const AgentPacemaker *pacemaker);
// What `vmferry doctor` looks at in the configuration (agent/cib_facts.h); new reference, NULL before the
// first CIB was seen. Not to be changed: it is shared with the next caller.
json_t *agent_pacemaker_facts(const AgentPacemaker *pacemaker);

// Registers the VM: primitive NAME ocf:vmferry:VirtualMachine with parameter definition, meta
// allow-migrate as MOVABLE says, resource-stickiness (so that nothing moves back by itself), target-role
// Started or Stopped, and operations with timeouts fit for saving memory (docs/TIMEOUTS of the
// resource agent's meta-data). DEFINITION is JSON; it comes back with the same meaning in ASCII
// without line ends. AGENT_ERROR_CONFLICT where the id exists.
void agent_pacemaker_create(AgentPacemaker *pacemaker, const char *name, const char *definition,
                            bool started, bool movable, AgentPacemakerDone done, gpointer data);
void agent_pacemaker_set_definition(AgentPacemaker *pacemaker, const char *name,
                                    const char *definition, AgentPacemakerDone done, gpointer data);
// Removes the resource, its constraints and its history.
void agent_pacemaker_delete(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                            gpointer data);
void agent_pacemaker_set_role(AgentPacemaker *pacemaker, const char *name, bool started,
                              AgentPacemakerDone done, gpointer data);
// The newest epoch of NAME's run record that the cluster has seen, from the last CIB seen; 0 where none
// is written.
uint64_t agent_pacemaker_epoch(const AgentPacemaker *pacemaker, const char *name);
// Writes a newer one.
void agent_pacemaker_set_epoch(AgentPacemaker *pacemaker, const char *name, uint64_t epoch,
                               AgentPacemakerDone done, gpointer data);
void agent_pacemaker_set_standby(AgentPacemaker *pacemaker, const char *node, bool standby,
                                 AgentPacemakerDone done, gpointer data);

// A move asked for by an admin: a location constraint with id "vmferry-move-NAME" (score INFINITY,
// lifetime rule of LIFETIME_S so that it can never bind for long) that remembers OWNER, the node
// whose agent will remove it.
void agent_pacemaker_prefer(AgentPacemaker *pacemaker, const char *name, const char *node,
                            const char *owner, unsigned lifetime_s, AgentPacemakerDone done,
                            gpointer data);
void agent_pacemaker_unprefer(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                              gpointer data);
// [{"name":"vm1","node":"n2","owner":"n1"}]: the constraints of that kind; new reference.
json_t *agent_pacemaker_preferences(const AgentPacemaker *pacemaker);

// Pacemaker leaves the resource alone for a while: is-managed=false in a set of meta attributes with
// id "vmferry-hold-NAME" and a lifetime rule of LIFETIME_S, so that it never holds for long.
void agent_pacemaker_hold(AgentPacemaker *pacemaker, const char *name, unsigned lifetime_s,
                          AgentPacemakerDone done, gpointer data);
// Ends that.
void agent_pacemaker_let_go(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                            gpointer data);
// Whether the history of NAME on NODE has a migrate_to that failed.
bool agent_pacemaker_move_failed(const AgentPacemaker *pacemaker, const char *name,
                                 const char *node);

// Whether it has a probe or monitor there that found the resource active.
bool agent_pacemaker_found(const AgentPacemaker *pacemaker, const char *name, const char *node);

// NAME's definition as the CIB has it, borrowed until the main loop runs again; NULL where there is
// none.
const char *agent_pacemaker_definition(const AgentPacemaker *pacemaker, const char *name);

// Tells Pacemaker that the resource has failed on NODE now (an asynchronous failure, as
// `crm_resource --fail`), so that it recovers at once instead of at the next monitor. DONE may be
// NULL: an error is logged.
void agent_pacemaker_fail(AgentPacemaker *pacemaker, const char *name, const char *node,
                          AgentPacemakerDone done, gpointer data);
// Forgets all history of the resource, on nodes without a failure, too; it is probed again
// (`crm_resource --refresh`).
void agent_pacemaker_refresh(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                             gpointer data);
// Forgets the resource's failures and history on all nodes (`crm_resource --cleanup`).
void agent_pacemaker_cleanup(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                             gpointer data);
