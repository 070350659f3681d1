// SPDX-License-Identifier: GPL-2.0-or-later
// Corosync: the closed process group of all agents, quorum, node names. The only file that includes
// corosync's headers is cluster.c. Main-loop thread only.
#pragma once

#include "agent/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct AgentCluster AgentCluster;

typedef enum {
    AGENT_LEFT_PROCESS, // the agent's process ended or left; the node is up: its writes are over
    AGENT_LEFT_NODE,    // the node left the membership: nothing is known of it
} AgentLeftReason;

typedef struct {
    // MESSAGE is borrowed. Messages come in the same order on all members, our own included.
    void (*message)(const char *from_node, json_t *message, gpointer data);
    void (*joined)(const char *node, gpointer data);
    void (*left)(const char *node, AgentLeftReason reason, gpointer data);
    void (*quorum)(bool quorate, gpointer data);
    // corosync went away; it reconnects by itself, meanwhile nobody is a member, there is no quorum
    // and unsent messages are dropped; `left` and `quorum` are not called for that.
    void (*lost)(gpointer data);
    // `joined` follows for each member, this node included.
    void (*connected)(gpointer data);
} AgentClusterEvents;

// Connects to corosync (and reconnects every second until it answers); joins the CPG group
// "vmferry". Callbacks come from the main loop; they may send, but must not free CLUSTER.
AgentCluster *agent_cluster_new(const AgentClusterEvents *events, gpointer data);
void agent_cluster_free(AgentCluster *cluster);

bool agent_cluster_connected(const AgentCluster *cluster);
bool agent_cluster_quorate(const AgentCluster *cluster);
// This node's name as corosync's nodelist has it (`name`, else ring0_addr); NULL before the first
// connection.
const char *agent_cluster_local_node(const AgentCluster *cluster);
// Whether an agent of that node is in the group.
bool agent_cluster_has(const AgentCluster *cluster, const char *node);
// Names of all members of the group, sorted; free with g_strfreev.
char **agent_cluster_members(const AgentCluster *cluster);
// Sends to all members, this one too, in order; queues under flow control. Takes MESSAGE. Larger
// than CPG's maximum is split and joined again. AGENT_ERROR_UNAVAILABLE when not connected or when
// too much waits already, AGENT_ERROR_INVALID for more than 4 MiB.
bool agent_cluster_send(AgentCluster *cluster, json_t *message, GError **error);
// [{"name":"n1","id":1,"online":true}] as corosync sees the nodes; new reference.
json_t *agent_cluster_nodes(const AgentCluster *cluster);
// What corosync runs with, asked now: {"crypto_cipher", "crypto_hash", "secauth", "qdevice" (its model):
// strings or null, "token_ms", "consensus_ms", "nodes", "links" (the least of a node), "two_node"}, or
// {"problem": TEXT}; new reference.
json_t *agent_cluster_corosync(const AgentCluster *cluster);
