// SPDX-License-Identifier: GPL-2.0-or-later
// The agent's state, private to agent/. One thread: the main loop's; storage work goes to
// agent/worker.h and comes back to it.
#pragma once

#include "agent/cluster.h"
#include "agent/config.h"
#include "agent/http.h"
#include "agent/outbox.h"
#include "agent/pacemaker.h"
#include "agent/ra_socket.h"
#include "agent/service.h"
#include "hvcore/node.h"
#include "migrate/forecast.h"

enum { AGENT_HOUSEKEEPING_S = 5 }; // also tells systemd's watchdog that the main loop runs

struct Agent {
    AgentConfig *config;
    HvNode *node; // what this node can do as a hypervisor
    char *name;   // this node's cluster name, "" until corosync told it
    AgentCluster *cluster;
    AgentOutbox *outbox; // what this node has to say in it and can wait
    AgentPacemaker *pacemaker;
    AgentEvents *events;
    AgentJobs *jobs;
    AgentHttp *http;
    AgentRaSocket *ra;
    GHashTable *vms;       // name -> AgentVm: VMs this node has to do with
    GHashTable *peers;     // node -> its last status message (json_t), ours included
    GHashTable *calls;     // id -> call that waits for a reply of another node
    GHashTable *migrates;  // VM -> move an admin asked for on this node
    GHashTable *preferences; // VM -> sweeps since when nobody needs its constraint
    GHashTable *changing; // VMs that are being defined, discarded or undefined
    GHashTable *peeking; // VMs whose record is being looked at for that
    GHashTable *saved;     // VM -> record state last seen on storage, while nobody runs it
    FerryOverhead overhead; // of lazy moves away from this node, for VMs that have not moved yet
    GHashTable *lost;      // node -> when it left the cluster last (gint64: wall clock, ms)
    GQueue deferred;       // messages that came before adoption was done
    bool adopting;
    bool ready;            // adoption done, RA socket and API are open
    guint status_source;   // a status broadcast is due
    guint next_id;
};

Agent *agent_new(AgentConfig *config, GError **error); // takes CONFIG also on failure
void agent_free(Agent *agent);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Agent, agent_free)

// corosync answers: this node has a name now. The first time, processes are adopted and the API opens.
void agent_connected(Agent *agent);

// A string that is unique in the cluster: "n1-1764403200-7".
char *agent_new_id(Agent *agent);
