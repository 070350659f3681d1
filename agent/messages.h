// SPDX-License-Identifier: GPL-2.0-or-later
// What agents send each other: moves, calls with a reply, status, events, jobs. JSON over CPG.
#pragma once

#include "agent/agent.h"
#include "migrate/move.h"

enum { AGENT_CALL_MS = 60 * 1000 }; // for the answer of another agent

extern const AgentClusterEvents agent_messages_cluster_events; // data: Agent

void agent_messages_send_move(Agent *agent, const char *to, const FerryMessage *message);
// Status, events, jobs and a move's RUNNING wait while the outbox is quiet.
void agent_messages_held(json_t *message, gint64 held_us, gpointer agent); // AgentOutboxFn
void agent_messages_send_status(Agent *agent, json_t *status); // takes
void agent_messages_send_event(Agent *agent, json_t *event);   // borrows
void agent_messages_send_job(Agent *agent, json_t *job);       // borrows

// Asks the agent of NODE (this one too) to do OP. Takes ARGS. REPLY is called once: with the other
// side's answer, AGENT_ERROR_UNAVAILABLE when it leaves, AGENT_ERROR_TIMEOUT after
// AGENT_CALL_MS.
void agent_messages_call(Agent *agent, const char *node, const char *op, json_t *args,
                         AgentReplyFn reply, gpointer data);
// Messages that came before adoption was done are handled now.
void agent_messages_flush(Agent *agent);
