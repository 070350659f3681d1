// SPDX-License-Identifier: GPL-2.0-or-later
// Events as an array and as a stream.
#include "tests/agent/api_support.h"

#include <string.h>
#include <sys/socket.h>

#define STREAM "Accept: text/event-stream\r\n"

// Without a log line, as another node's.
static json_int_t happen(Server *server, const char *message)
{
    json_t *event = json_pack("{s:s, s:s}", "type", "vm.started", "message", message);
    agent_events_add_remote(server->agent.events, event);
    json_decref(event);
    json_t *all = agent_events_since(server->agent.events, 0);
    json_t *last = json_array_get(all, json_array_size(all) - 1);
    json_int_t id = json_integer_value(json_object_get(last, "id"));
    json_decref(all);
    return id;
}

static void assert_none(Client *client, const char *text)
{
    g_assert_null(strstr(client->in->str, text));
}

static void test_array(Server *server, gconstpointer data)
{
    (void)data;
    json_int_t first = happen(server, "one");
    happen(server, "two");
    json_t *answer;
    g_assert_cmpuint(ask(server, "GET", "/v1/events", NULL, &answer), ==, 200);
    g_assert_cmpuint(json_array_size(answer), ==, 2);
    json_decref(answer);
    g_autofree char *path = g_strdup_printf("/v1/events?since=%" G_GINT64_FORMAT, (gint64)first);
    g_assert_cmpuint(ask(server, "GET", path, NULL, &answer), ==, 200);
    g_assert_cmpuint(json_array_size(answer), ==, 1);
    json_t *event = json_array_get(answer, 0);
    g_assert_cmpstr(json_string_value(json_object_get(event, "message")), ==, "two");
    json_decref(answer);
}

static void test_stream_from_now(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) client = client_unix(server);
    happen(server, "before");
    client_ask(client, "GET", "/v1/events", STREAM, NULL);
    client_expect(client, "vmferry's events"); // open, and nothing has happened since
    g_assert_cmpuint(client_status(client), ==, 200);
    g_assert_nonnull(strstr(client->in->str, "\r\nContent-Type: text/event-stream\r\n"));
    json_int_t id = happen(server, "now");
    g_autofree char *expected =
        g_strdup_printf("id: %" G_GINT64_FORMAT "\nevent: vm.started\ndata: {\"type\":"
                        "\"vm.started\",\"message\":\"now\",\"id\":%" G_GINT64_FORMAT "}\n\n",
                        (gint64)id, (gint64)id);
    client_expect(client, expected);
    happen(server, "later");
    client_expect(client, "\"later\"");
    assert_none(client, "before");
}

static void test_stream_since(Server *server, gconstpointer data)
{
    (void)data;
    json_int_t one = happen(server, "one"), two = happen(server, "two");
    happen(server, "three");
    g_autofree char *path = g_strdup_printf("/v1/events?since=%" G_GINT64_FORMAT, (gint64)one);
    g_autoptr(Client) fresh = client_unix(server);
    client_ask(fresh, "GET", path, STREAM, NULL);
    client_expect(fresh, "\"three\"");
    client_expect(fresh, "\"two\"");
    assert_none(fresh, "\"one\"");
    g_autofree char *headers =
        g_strdup_printf(STREAM "Last-Event-ID: %" G_GINT64_FORMAT "\r\n", (gint64)two);
    g_autoptr(Client) again = client_unix(server);
    client_ask(again, "GET", path, headers, NULL); // what it has seen counts, not where it began
    client_expect(again, "\"three\"");
    assert_none(again, "\"two\"");
    happen(server, "four");
    client_expect(fresh, "\"four\"");
    client_expect(again, "\"four\"");
}

// A client that goes is found when there is something to tell it; the others are told.
static void test_stream_left(Server *server, gconstpointer data)
{
    (void)data;
    Client *goes = client_unix(server);
    g_autoptr(Client) stays = client_tcp(server);
    client_ask(goes, "GET", "/v1/events", STREAM, NULL);
    client_ask(stays, "GET", "/v1/events", STREAM TEST_AUTHORIZATION, NULL);
    client_expect(goes, "vmferry's events");
    client_expect(stays, "vmferry's events");
    client_free(goes);
    for (int i = 0; i < 3; i++) {
        g_autofree char *message = g_strdup_printf("event %d", i);
        happen(server, message);
        client_expect(stays, message);
    }
}

// It reads nothing: the server buffers 1 MiB, beside what the sockets take, then cuts it.
static void test_stream_slow(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) slow = client_unix(server);
    g_autoptr(Client) quick = client_unix(server);
    client_ask(slow, "GET", "/v1/events", STREAM, NULL);
    client_ask(quick, "GET", "/v1/events", STREAM, NULL);
    client_expect(slow, "vmferry's events");
    client_expect(quick, "vmferry's events");
    g_clear_handle_id(&slow->source, g_source_remove);
    g_autofree char *large = g_strnfill(64 * 1024, 'x');
    for (int i = 0; i < 100; i++) {
        g_autofree char *message = g_strdup_printf("%d %s", i, large);
        g_autofree char *expected = g_strdup_printf("\"message\":\"%d x", i);
        happen(server, message);
        client_expect(quick, expected);
    }
    gsize got = 0;
    char buffer[4096];
    ssize_t length;
    while ((length = recv(slow->fd, buffer, sizeof buffer, 0)) > 0)
        got += (gsize)length;
    g_assert_cmpint(length, ==, 0); // its end, not "nothing now"
    g_assert_cmpuint(got, <, 3 * 1024 * 1024);
}

static void test_server_ends(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) client = client_unix(server);
    g_autoptr(Client) busy = client_unix(server);
    client_ask(client, "GET", "/v1/events", STREAM, NULL);
    client_ask(busy, "GET", "/v1/events", STREAM, NULL);
    client_expect(client, "vmferry's events");
    client_expect(busy, "vmferry's events");
    happen(server, "at the last moment"); // resumed, not yet run
    server_end(server);
    client_expect_eof(client);
    client_expect_eof(busy);
    happen(server, "nobody follows");
}

// With all kinds of clients that wait, the main loop sleeps.
static void test_quiet(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) streams = client_unix(server);
    g_autoptr(Client) waits = client_unix(server);
    g_autoptr(Client) half_closed = client_tcp(server);
    g_autoptr(Client) idle = client_tcp(server);
    client_ask(streams, "GET", "/v1/events", STREAM, NULL);
    client_expect(streams, "vmferry's events");
    client_ask(idle, "GET", "/v1/vms", TEST_AUTHORIZATION, NULL);
    client_expect(idle, "]");
    server->agent.later = true;
    client_ask(half_closed, "GET", "/v1/events", STREAM TEST_AUTHORIZATION, NULL);
    client_expect(half_closed, "vmferry's events");
    g_assert_no_errno(shutdown(half_closed->fd, SHUT_WR));
    client_ask(waits, "POST", "/v1/vms/a/start", "", NULL);
    expect_set((gpointer *)&server->agent.reply);
    loop_iterations(50);
    g_assert_cmpuint(loop_iterations(300), <=, 10);
    server_reply(server);
    client_expect(waits, "n1-7");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    server_test("/api-events/array", test_array);
    server_test("/api-events/stream-from-now", test_stream_from_now);
    server_test("/api-events/stream-since", test_stream_since);
    server_test("/api-events/stream-left", test_stream_left);
    server_test("/api-events/stream-slow", test_stream_slow);
    server_test("/api-events/quiet", test_quiet);
    server_test("/api-events/server-ends", test_server_ends);
    return g_test_run();
}
