// SPDX-License-Identifier: GPL-2.0-or-later
// The ring of events and those who follow it.
#include "agent/events.h"

#include <string.h>

typedef struct {
    AgentEvents *events;
    GPtrArray *messages;
    guint unfollow; // ended at the first event
} Seen;

static void see(json_t *event, gpointer data)
{
    Seen *seen = data;
    g_ptr_array_add(seen->messages, g_strdup(json_string_value(json_object_get(event, "message"))));
    if (seen->unfollow != 0)
        agent_events_unfollow(seen->events, seen->unfollow);
    seen->unfollow = 0;
}

static json_int_t id_of(json_t *array, size_t index)
{
    return json_integer_value(json_object_get(json_array_get(array, index), "id"));
}

static const char *text_of(json_t *array, size_t index, const char *key)
{
    return json_string_value(json_object_get(json_array_get(array, index), key));
}

static void test_add(void)
{
    AgentEvents *events = agent_events_new("n1");
    g_test_expect_message("vmferry", G_LOG_LEVEL_MESSAGE, "vm.started: a runs");
    agent_events_add(events, "info", "vm.started", "a", json_pack("{s:i}", "pid", 7), "%s runs",
                     "a");
    g_test_expect_message("vmferry", G_LOG_LEVEL_WARNING, "node.lost: n2 is gone");
    agent_events_add(events, "warning", "node.lost", NULL, NULL, "n2 is gone");
    g_test_assert_expected_messages();
    json_t *all = agent_events_since(events, 0);
    g_assert_cmpuint(json_array_size(all), ==, 2);
    g_assert_cmpstr(text_of(all, 0, "node"), ==, "n1");
    g_assert_cmpstr(text_of(all, 0, "vm"), ==, "a");
    g_assert_cmpstr(text_of(all, 0, "type"), ==, "vm.started");
    g_assert_cmpstr(text_of(all, 0, "level"), ==, "info");
    g_assert_cmpstr(text_of(all, 0, "message"), ==, "a runs");
    g_assert_true(g_regex_match_simple("^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$",
                                       text_of(all, 0, "time"), 0, 0));
    json_t *details = json_object_get(json_array_get(all, 0), "details");
    g_assert_cmpint(json_integer_value(json_object_get(details, "pid")), ==, 7);
    g_assert_null(json_object_get(json_array_get(all, 1), "vm"));
    g_assert_null(json_object_get(json_array_get(all, 1), "details"));
    g_assert_cmpint(id_of(all, 1), >, id_of(all, 0));
    json_t *later = agent_events_since(events, id_of(all, 0));
    g_assert_cmpuint(json_array_size(later), ==, 1);
    g_assert_cmpint(id_of(later, 0), ==, id_of(all, 1));
    json_decref(later);
    json_decref(all);
    agent_events_free(events);
}

static void test_remote(void)
{
    AgentEvents *events = agent_events_new("n1");
    json_t *event = json_pack("{s:i, s:s, s:s, s:s}", "id", 3, "node", "n2", "type", "vm.died",
                              "message", "gone");
    agent_events_add_remote(events, event);
    agent_events_add_remote(events, event);
    g_assert_cmpint(json_integer_value(json_object_get(event, "id")), ==, 3); // borrowed
    json_t *all = agent_events_since(events, 0);
    g_assert_cmpuint(json_array_size(all), ==, 2);
    g_assert_cmpstr(text_of(all, 0, "node"), ==, "n2");
    g_assert_cmpint(id_of(all, 1), ==, id_of(all, 0) + 1);
    json_decref(all);
    json_decref(event);
    g_test_expect_message("vmferry", G_LOG_LEVEL_WARNING, "*cannot be understood*");
    agent_events_add_remote(events, NULL);
    g_test_assert_expected_messages();
    agent_events_free(events);
}

static void test_ring(void)
{
    AgentEvents *events = agent_events_new("n1");
    for (int i = 0; i < 1005; i++) {
        json_t *event = json_pack("{s:s, s:i}", "type", "t", "n", i);
        agent_events_add_remote(events, event);
        json_decref(event);
    }
    json_t *all = agent_events_since(events, 0);
    g_assert_cmpuint(json_array_size(all), ==, 1000);
    json_t *oldest = json_object_get(json_array_get(all, 0), "n");
    g_assert_cmpint(json_integer_value(oldest), ==, 5);
    json_decref(all);
    agent_events_free(events);
}

static void add(AgentEvents *events, const char *message)
{
    json_t *event = json_pack("{s:s, s:s}", "type", "t", "message", message);
    agent_events_add_remote(events, event);
    json_decref(event);
}

static void test_follow(void)
{
    AgentEvents *events = agent_events_new("n1");
    g_autoptr(GPtrArray) first = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) second = g_ptr_array_new_with_free_func(g_free);
    Seen one = {.events = events, .messages = first};
    Seen two = {.events = events, .messages = second};
    add(events, "before");
    guint one_id = agent_events_follow(events, see, &one);
    one.unfollow = agent_events_follow(events, see, &two);
    add(events, "a"); // the first follower ends the second before that is told
    add(events, "b");
    agent_events_unfollow(events, one_id);
    add(events, "c");
    g_assert_cmpuint(first->len, ==, 2);
    g_assert_cmpstr(first->pdata[0], ==, "a");
    g_assert_cmpstr(first->pdata[1], ==, "b");
    g_assert_cmpuint(second->len, ==, 0);
    agent_events_free(events);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/events/add", test_add);
    g_test_add_func("/events/remote", test_remote);
    g_test_add_func("/events/ring", test_ring);
    g_test_add_func("/events/follow", test_follow);
    return g_test_run();
}
