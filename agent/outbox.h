// SPDX-License-Identifier: GPL-2.0-or-later
// What this node has to tell the others, and what of it can wait. Each message keeps corosync's token
// going round for some 30 turns, at real-time priority: that CPU time is the guest's while it is paused
// or has just begun to run. Main loop's thread.
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct AgentOutbox AgentOutbox;

// Takes MESSAGE. HELD_US: how long it was kept back.
typedef void (*AgentOutboxFn)(json_t *message, gint64 held_us, gpointer data);

AgentOutbox *agent_outbox_new(AgentOutboxFn send, gpointer data);
void agent_outbox_free(AgentOutbox *outbox); // what was kept back is dropped; NULL is fine

// Takes MESSAGE: sent at once, or when quiet ends, after those that came before it.
void agent_outbox_add(AgentOutbox *outbox, json_t *message);
// A guest that was paused answers again well within it.
enum { AGENT_QUIET_MS = 150 };
// Quiet from now on for MS at least.
void agent_outbox_quiet(AgentOutbox *outbox, guint ms);
// What was kept back is sent now, and quiet is over.
void agent_outbox_end_quiet(AgentOutbox *outbox);
