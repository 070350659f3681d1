// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/outbox.h"

typedef struct {
    json_t *message;
    gint64 since;
} Held;

struct AgentOutbox {
    AgentOutboxFn send;
    gpointer data;
    GQueue held;
    gint64 quiet_until; // monotonic, us
    guint timer;        // 0: not quiet
};

AgentOutbox *agent_outbox_new(AgentOutboxFn send, gpointer data)
{
    AgentOutbox *outbox = g_new0(AgentOutbox, 1);
    outbox->send = send;
    outbox->data = data;
    g_queue_init(&outbox->held);
    return outbox;
}

void agent_outbox_free(AgentOutbox *outbox)
{
    if (outbox == NULL)
        return;
    g_clear_handle_id(&outbox->timer, g_source_remove);
    for (Held *held; (held = g_queue_pop_head(&outbox->held)) != NULL; g_free(held))
        json_decref(held->message);
    g_free(outbox);
}

void agent_outbox_add(AgentOutbox *outbox, json_t *message)
{
    if (outbox->timer == 0) {
        outbox->send(message, 0, outbox->data);
        return;
    }
    Held *held = g_new(Held, 1);
    *held = (Held){.message = message, .since = g_get_monotonic_time()};
    g_queue_push_tail(&outbox->held, held);
}

void agent_outbox_end_quiet(AgentOutbox *outbox)
{
    gint64 now = g_get_monotonic_time();
    g_clear_handle_id(&outbox->timer, g_source_remove);
    for (Held *held; (held = g_queue_pop_head(&outbox->held)) != NULL; g_free(held))
        outbox->send(held->message, now - held->since, outbox->data);
}

static gboolean quiet_is_over(gpointer data)
{
    AgentOutbox *outbox = data;
    outbox->timer = 0;
    agent_outbox_end_quiet(outbox);
    return G_SOURCE_REMOVE;
}

void agent_outbox_quiet(AgentOutbox *outbox, guint ms)
{
    gint64 until = g_get_monotonic_time() + (gint64)ms * 1000;
    if (outbox->timer != 0 && until <= outbox->quiet_until)
        return;
    outbox->quiet_until = until;
    g_clear_handle_id(&outbox->timer, g_source_remove);
    outbox->timer = g_timeout_add(ms, quiet_is_over, outbox);
}
