// SPDX-License-Identifier: GPL-2.0-or-later
// What happened, for admins: a bounded ring that /v1/events serves and follows. Every agent holds
// the events of all nodes; ids are this agent's own and grow. Main-loop thread only.
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct AgentEvents AgentEvents;

// EVENT (borrowed): {"id":N,"time":"2026-...Z","node":"n1","vm":"name"|absent,"type":"move.done",
// "level":"info|warning|error","message":"...", "details":{...}|absent}
typedef void (*AgentEventFn)(json_t *event, gpointer data);

AgentEvents *agent_events_new(const char *node);
void agent_events_free(AgentEvents *events);

// Adds an event of this node and hands it to every follower. Takes DETAILS (may be NULL); VM may be
// NULL. Also logged once. TYPE is dotted, lower case: "vm.started", "move.phase", "node.lost".
void agent_events_add(AgentEvents *events, const char *level, const char *type, const char *vm,
                      json_t *details, const char *format, ...) G_GNUC_PRINTF(6, 7);
// Adds an event that another node made (borrows; gives it a new id).
void agent_events_add_remote(AgentEvents *events, json_t *event);
// A new reference to an array of the events with id > SINCE.
json_t *agent_events_since(AgentEvents *events, json_int_t since);
guint agent_events_follow(AgentEvents *events, AgentEventFn function, gpointer data);
void agent_events_unfollow(AgentEvents *events, guint id);
