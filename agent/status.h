// SPDX-License-Identifier: GPL-2.0-or-later
// What every agent tells the others about its node and VMs, and the view that results.
#pragma once

#include "agent/agent.h"
#include "hvcore/definition.h"

// Something about this node or its VMs changed: told to all soon.
void agent_status_changed(Agent *agent);
// At once: before a word goes out that others may act on sooner than on what this node said last.
void agent_status_tell(Agent *agent);
void agent_status_received(Agent *agent, const char *from, json_t *status); // borrows
void agent_status_forget(Agent *agent, const char *node);

// The other node on which VM has a QEMU of its own right, as far as the members said in the last seconds:
// one that is silent has no say in what Pacemaker has proven stopped. NULL = none. The caller frees.
char *agent_status_node_of(Agent *agent, const char *vm);
// The node (this one included) on which VM runs or is paused; NULL = none. The caller frees.
char *agent_status_owner_of(Agent *agent, const char *vm);

// Whether Pacemaker here has told what VMs and nodes there are: not before this node has joined.
// AGENT_ERROR_NOT_JOINED.
bool agent_status_known(Agent *agent, GError **error);
// Whether anything of the cluster may be changed from here: Pacemaker answers, there is quorum, and what there is
// is known. AGENT_ERROR_NOT_JOINED.
bool agent_status_changeable(Agent *agent, GError **error);
// Why there is no VM NAME: AGENT_ERROR_NOT_FOUND, or that it is not known here. The caller frees.
GError *agent_status_no_vm(Agent *agent, const char *name);
// A node that is online or still to be fenced, of whose VMs nothing is known: its vmferryd is silent. NULL =
// none. The caller frees.
char *agent_status_silent_node(Agent *agent);
json_t *agent_status_nodes(Agent *agent);                 // new reference: the API's array
json_t *agent_status_vm(Agent *agent, const char *name);  // new reference or NULL
json_t *agent_status_vms(Agent *agent);                   // new reference: the API's array
// The definition in the CIB (or known here), new reference; NULL where there is no such VM.
HvDefinition *agent_status_definition(Agent *agent, const char *name);
// Looks at the records of VMs that nobody runs, so that the view can tell saved from stopped.
void agent_status_peek(Agent *agent);
