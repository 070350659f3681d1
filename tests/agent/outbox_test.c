// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/outbox.h"

typedef struct {
    GString *sent;
    gint64 held_us; // of the last
} Sent;

static void send(json_t *message, gint64 held_us, gpointer data)
{
    Sent *sent = data;
    g_string_append(sent->sent, json_string_value(message));
    sent->held_us = held_us;
    json_decref(message);
}

static void say(AgentOutbox *outbox, const char *what)
{
    agent_outbox_add(outbox, json_string(what));
}

static void wait_for(const Sent *sent, const char *all)
{
    gint64 end = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    while (!g_str_equal(sent->sent->str, all) && g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpstr(sent->sent->str, ==, all);
}

static void test_at_once(void)
{
    Sent sent = {.sent = g_string_new("")};
    AgentOutbox *outbox = agent_outbox_new(send, &sent);
    say(outbox, "a");
    g_assert_cmpstr(sent.sent->str, ==, "a");
    g_assert_cmpint(sent.held_us, ==, 0);
    agent_outbox_free(outbox);
    g_string_free(sent.sent, TRUE);
}

static void test_held_and_in_order(void)
{
    Sent sent = {.sent = g_string_new("")};
    AgentOutbox *outbox = agent_outbox_new(send, &sent);
    gint64 begin = g_get_monotonic_time();
    agent_outbox_quiet(outbox, 30);
    say(outbox, "a");
    say(outbox, "b");
    agent_outbox_quiet(outbox, 60);
    agent_outbox_quiet(outbox, 1); // does not make it shorter
    gint64 said = g_get_monotonic_time();
    say(outbox, "c");
    g_assert_cmpstr(sent.sent->str, ==, "");
    wait_for(&sent, "abc");
    gint64 end = g_get_monotonic_time();
    g_assert_cmpint(end - begin, >=, 60 * 1000);
    g_assert_cmpint(sent.held_us, >, 0);
    g_assert_cmpint(sent.held_us, <=, end - said);
    say(outbox, "d");
    g_assert_cmpstr(sent.sent->str, ==, "abcd");
    agent_outbox_free(outbox);
    g_string_free(sent.sent, TRUE);
}

static void test_ended(void)
{
    Sent sent = {.sent = g_string_new("")};
    AgentOutbox *outbox = agent_outbox_new(send, &sent);
    agent_outbox_quiet(outbox, 60 * 1000);
    say(outbox, "a");
    agent_outbox_end_quiet(outbox);
    say(outbox, "b");
    g_assert_cmpstr(sent.sent->str, ==, "ab");
    agent_outbox_free(outbox);
    g_string_free(sent.sent, TRUE);
}

static void test_freed_while_quiet(void)
{
    Sent sent = {.sent = g_string_new("")};
    AgentOutbox *outbox = agent_outbox_new(send, &sent);
    agent_outbox_quiet(outbox, 10);
    say(outbox, "a");
    agent_outbox_free(outbox);
    g_assert_cmpstr(sent.sent->str, ==, "");
    g_string_free(sent.sent, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/outbox/at-once", test_at_once);
    g_test_add_func("/outbox/held-and-in-order", test_held_and_in_order);
    g_test_add_func("/outbox/ended", test_ended);
    g_test_add_func("/outbox/freed-while-quiet", test_freed_while_quiet);
    return g_test_run();
}
