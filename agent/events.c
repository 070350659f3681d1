// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/events.h"

#include "agent/api_time.h"

#include <string.h>

enum { RING = 1000 };

typedef struct {
    guint id;
    AgentEventFn function;
    gpointer data;
} Follower;

struct AgentEvents {
    char *node;
    GQueue ring; // json_t, oldest first
    GList *followers;
    guint next_follower;
    json_int_t last_id;
};

// Ids begin at the clock's milliseconds: they go on growing when the agent is started again, so
// that a client that asks for what came after its last event does not miss the new ones.
AgentEvents *agent_events_new(const char *node)
{
    AgentEvents *events = g_new0(AgentEvents, 1);
    events->node = g_strdup(node);
    events->last_id = g_get_real_time() / G_TIME_SPAN_MILLISECOND;
    g_queue_init(&events->ring);
    return events;
}

static void event_free(gpointer event)
{
    json_decref(event);
}

void agent_events_free(AgentEvents *events)
{
    if (events == NULL)
        return;
    g_queue_clear_full(&events->ring, event_free);
    g_list_free_full(events->followers, g_free);
    g_free(events->node);
    g_free(events);
}

static Follower *find_follower(AgentEvents *events, guint id)
{
    for (GList *item = events->followers; item != NULL; item = item->next)
        if (((Follower *)item->data)->id == id)
            return item->data;
    return NULL;
}

// A follower may end itself or others, or follow anew, while it is told.
static void tell_followers(AgentEvents *events, json_t *event)
{
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(guint));
    for (GList *item = events->followers; item != NULL; item = item->next)
        g_array_append_val(ids, ((Follower *)item->data)->id);
    for (guint i = 0; i < ids->len; i++) {
        Follower *follower = find_follower(events, g_array_index(ids, guint, i));
        if (follower != NULL)
            follower->function(event, follower->data);
    }
}

// Takes EVENT.
static void push(AgentEvents *events, json_t *event)
{
    json_object_set_new(event, "id", json_integer(++events->last_id));
    g_queue_push_tail(&events->ring, json_incref(event));
    if (g_queue_get_length(&events->ring) > RING)
        json_decref(g_queue_pop_head(&events->ring));
    tell_followers(events, event);
    json_decref(event);
}

void agent_events_add(AgentEvents *events, const char *level, const char *type, const char *vm,
                      json_t *details, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *message = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    if (strcmp(level, "info") == 0)
        g_message("%s: %s", type, message);
    else
        g_warning("%s: %s", type, message);
    g_autofree char *valid = g_utf8_make_valid(message, -1);
    json_t *event =
        json_pack("{s:o, s:s, s:s*, s:s, s:s, s:s}", "time", api_time_now(), "node", events->node,
                  "vm", vm, "type", type, "level", level, "message", valid);
    if (details != NULL)
        json_object_set_new(event, "details", details);
    push(events, event);
}

void agent_events_add_remote(AgentEvents *events, json_t *event)
{
    if (!json_is_string(json_object_get(event, "type"))) {
        g_warning("another node's event cannot be understood");
        return;
    }
    push(events, json_deep_copy(event));
}

json_t *agent_events_since(AgentEvents *events, json_int_t since)
{
    json_t *array = json_array();
    for (GList *item = events->ring.head; item != NULL; item = item->next)
        if (json_integer_value(json_object_get(item->data, "id")) > since)
            json_array_append(array, item->data);
    return array;
}

guint agent_events_follow(AgentEvents *events, AgentEventFn function, gpointer data)
{
    Follower *follower = g_new(Follower, 1);
    *follower = (Follower){.id = ++events->next_follower, .function = function, .data = data};
    events->followers = g_list_append(events->followers, follower);
    return follower->id;
}

void agent_events_unfollow(AgentEvents *events, guint id)
{
    Follower *follower = find_follower(events, id);
    events->followers = g_list_remove(events->followers, follower);
    g_free(follower);
}
