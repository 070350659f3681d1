// SPDX-License-Identifier: GPL-2.0-or-later
// The QMP client against a scripted peer.
#include "hvcore/qmp.h"
#include "tests/hvcore/fake_qmp.h"
#include "tests/hvcore/support.h"

#include <string.h>

#define HANDSHAKE                                                                                  \
    {                                                                                              \
        "qmp_capabilities", "{\"return\":{},\"id\":$ID}"                                           \
    }
#define OK "{\"return\":{},\"id\":$ID}"
enum { LONG_MS = 20000 };

typedef struct {
    QmpClient *client;
    FakeQmp *fake;
    unsigned replies, events, destroyed;
    bool replied, closed, got_event;
    GError *reply_error, *closed_error;
    char *status; // "status" of the last reply or event
    GString *order;
} Peer;

static void on_stop(json_t *data, gpointer pointer)
{
    (void)data;
    ((Peer *)pointer)->events++;
    ((Peer *)pointer)->got_event = true;
}

static void on_migration(json_t *data, gpointer pointer)
{
    Peer *peer = pointer;
    on_stop(data, pointer);
    g_free(peer->status);
    peer->status = g_strdup(json_string_value(json_object_get(data, "status")));
}

static const QmpEvent events[] = {{"MIGRATION", on_migration}, {"STOP", on_stop}};

static void on_closed(const GError *error, gpointer pointer)
{
    Peer *peer = pointer;
    g_assert_false(peer->closed);
    g_assert_error(error, HV_ERROR, HV_ERROR_CLOSED);
    peer->closed = true;
    peer->closed_error = g_error_copy(error);
    g_string_append_c(peer->order, 'C');
}

static void on_reply(json_t *result, const GError *error, gpointer pointer)
{
    Peer *peer = pointer;
    g_assert_true((result == NULL) == (error != NULL));
    peer->replies++;
    peer->replied = true;
    g_string_append_c(peer->order, 'R');
    g_clear_error(&peer->reply_error);
    peer->reply_error = error ? g_error_copy(error) : NULL;
    const char *status = json_string_value(json_object_get(result, "status"));
    if (status) {
        g_free(peer->status);
        peer->status = g_strdup(status);
    }
}

static void on_destroy(gpointer pointer)
{
    ((Peer *)pointer)->destroyed++;
}

static void peer_open(Peer *peer, const char *greeting, const FakeStep *steps)
{
    int fd;
    *peer = (Peer){.order = g_string_new(NULL)};
    peer->fake = fake_qmp_new(&fd, greeting, steps);
    peer->client = qmp_client_new(fd, events, G_N_ELEMENTS(events), on_closed, peer);
}

static void peer_close(Peer *peer)
{
    qmp_client_free(peer->client);
    fake_qmp_free(peer->fake);
    g_clear_error(&peer->reply_error);
    g_clear_error(&peer->closed_error);
    g_free(peer->status);
    g_string_free(peer->order, TRUE);
}

static void ask(Peer *peer, const char *command, unsigned deadline_ms)
{
    qmp_client_execute(peer->client, command, NULL, deadline_ms, on_reply, peer, on_destroy);
}

// Until the whole script was played.
static void play(Peer *peer)
{
    g_assert_true(test_wait_for(fake_qmp_done, peer->fake, 20));
}

static void test_reply(void)
{
    static const FakeStep steps[] = {
        HANDSHAKE, {"query-status", "{\"return\":{\"status\":\"running\"},\"id\":$ID}"}, {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    ask(&peer, "query-status", LONG_MS); // before the handshake: waits for it
    g_assert_cmpuint(peer.replies, ==, 0);
    g_assert_true(test_wait(&peer.replied, 20));
    g_assert_no_error(peer.reply_error);
    g_assert_cmpstr(peer.status, ==, "running");
    g_assert_cmpuint(peer.destroyed, ==, 1);
    peer_close(&peer);
}

static void test_qemu_error(void)
{
    static const FakeStep steps[] = {
        HANDSHAKE,
        {"cont", "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no lock\"},\"id\":$ID}"},
        {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    ask(&peer, "cont", LONG_MS);
    g_assert_true(test_wait(&peer.replied, 20));
    g_assert_error(peer.reply_error, HV_ERROR, HV_ERROR_QMP);
    g_assert_cmpstr(peer.reply_error->message, ==, "cont: QEMU: no lock");
    g_assert_false(peer.closed);
    peer_close(&peer);
}

static bool three_replies(gpointer pointer)
{
    return ((Peer *)pointer)->replies == 3;
}

static void test_order_and_out_of_order(void)
{
    static const FakeStep steps[] = {HANDSHAKE, {"stop", NULL}, {"cont", OK}, {"quit", OK}, {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    ask(&peer, "stop", LONG_MS);
    ask(&peer, "cont", LONG_MS);
    ask(&peer, "quit", LONG_MS);
    play(&peer);
    fake_qmp_send(peer.fake, "{\"return\":{},\"id\":1}"); // `stop` was the first command
    g_assert_true(test_wait_for(three_replies, &peer, 20));
    g_assert_false(peer.closed);
    peer_close(&peer);
}

static void test_events_between(void)
{
    static const FakeStep steps[] = {HANDSHAKE,
                                     {"migrate",
                                      "{\"event\":\"MIGRATION\",\"data\":{\"status\":\"setup\"}}\n"
                                      "{\"event\":\"NOT_KNOWN_HERE\"}\n{\"event\":\"STOP\"}\n" OK},
                                     {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    ask(&peer, "migrate", LONG_MS);
    g_assert_true(test_wait(&peer.replied, 20));
    g_assert_cmpuint(peer.events, ==, 2);
    g_assert_cmpstr(peer.status, ==, "setup");
    peer_close(&peer);
}

static void test_deadline_and_late_reply(void)
{
    static const FakeStep steps[] = {HANDSHAKE, {"stop", NULL}, {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    ask(&peer, "stop", 30);
    g_assert_true(test_wait(&peer.replied, 20));
    g_assert_error(peer.reply_error, HV_ERROR, HV_ERROR_TIMEOUT);
    play(&peer);
    fake_qmp_send(peer.fake, "{\"return\":{},\"id\":$LAST}\n{\"event\":\"STOP\"}");
    g_assert_true(test_wait(&peer.got_event, 20)); // the late reply was swallowed before it
    g_assert_cmpuint(peer.replies, ==, 1);
    g_assert_false(peer.closed);
    peer_close(&peer);
}

static void test_deadline_before_greeting(void)
{
    static const FakeStep steps[] = {HANDSHAKE, {"cont", OK}, {0}};
    Peer peer;
    peer_open(&peer, "", steps);
    ask(&peer, "stop", 30); // never sent
    g_assert_true(test_wait(&peer.replied, 20));
    g_assert_error(peer.reply_error, HV_ERROR, HV_ERROR_TIMEOUT);
    peer.replied = false;
    ask(&peer, "cont", LONG_MS);
    fake_qmp_send(peer.fake, "{\"QMP\":{}}");
    g_assert_true(test_wait(&peer.replied, 20));
    g_assert_no_error(peer.reply_error);
    peer_close(&peer);
}

// Sends TEXT once the connection is up, with a command under way, and expects the end.
static void expect_end(const char *text, const char *reason)
{
    static const FakeStep steps[] = {HANDSHAKE, {"stop", NULL}, {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    ask(&peer, "stop", LONG_MS);
    play(&peer);
    if (text)
        fake_qmp_send(peer.fake, text);
    else
        fake_qmp_hang_up(peer.fake);
    g_assert_true(test_wait(&peer.closed, 20));
    g_assert_cmpstr(peer.order->str, ==, "RC"); // calls under way first
    g_assert_error(peer.reply_error, HV_ERROR, HV_ERROR_CLOSED);
    g_assert_nonnull(strstr(peer.closed_error->message, reason));
    peer_close(&peer);
}

static void test_cut(void)
{
    expect_end(NULL, "closed");
}

static void test_garbage(void)
{
    expect_end("\x16\x03\x01 no JSON", "no JSON object");
    expect_end("[1]", "no JSON object");
    expect_end("{\"return\":{}", "no JSON object");
}

static void test_wrong_id(void)
{
    expect_end("{\"return\":{},\"id\":4711}", "not given");
    expect_end("{\"return\":{},\"id\":\"1\"}", "not given");
    expect_end("{\"return\":{}}", "not given");
}

static void test_no_message(void)
{
    expect_end("{\"hello\":1}", "no QMP message");
}

static void test_oversized_line(void)
{
    enum { CHUNK = 64 * 1024 };
    static const FakeStep steps[] = {HANDSHAKE, {"stop", NULL}, {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    ask(&peer, "stop", LONG_MS);
    play(&peer);
    g_autofree char *blanks = g_strnfill(CHUNK, ' ');
    for (int i = 0; i < 300 && !peer.closed; i++) { // 18 MiB without a newline
        fake_qmp_send_raw(peer.fake, blanks);
        while (g_main_context_iteration(NULL, FALSE))
            ;
    }
    g_assert_true(peer.closed);
    g_assert_nonnull(strstr(peer.closed_error->message, "longer"));
    peer_close(&peer);
}

static void test_bad_greeting(void)
{
    static const FakeStep steps[] = {{0}};
    Peer peer;
    peer_open(&peer, "{\"hello\":1}", steps);
    ask(&peer, "stop", LONG_MS);
    g_assert_true(test_wait(&peer.closed, 20));
    g_assert_error(peer.reply_error, HV_ERROR, HV_ERROR_CLOSED);
    peer_close(&peer);
}

static void test_refused_handshake(void)
{
    static const FakeStep steps[] = {
        {"qmp_capabilities", "{\"error\":{\"desc\":\"no\"},\"id\":$ID}"}, {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    g_assert_true(test_wait(&peer.closed, 20));
    g_assert_nonnull(strstr(peer.closed_error->message, "handshake"));
    peer_close(&peer);
}

static void test_after_the_end(void)
{
    static const FakeStep steps[] = {{"qmp_capabilities", "CUT"}, {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    g_assert_true(test_wait(&peer.closed, 20));
    ask(&peer, "stop", LONG_MS);
    g_assert_cmpuint(peer.replies, ==, 0);
    g_assert_true(test_wait(&peer.replied, 20));
    g_assert_error(peer.reply_error, HV_ERROR, HV_ERROR_CLOSED);
    peer_close(&peer);
}

static void on_reply_free(json_t *result, const GError *error, gpointer pointer)
{
    Peer *peer = pointer;
    on_reply(result, error, pointer);
    g_clear_pointer(&peer->client, qmp_client_free);
}

static void test_free_in_reply(void)
{
    static const FakeStep steps[] = {
        HANDSHAKE, {"stop", OK "\n{\"event\":\"STOP\"}"}, {"cont", NULL}, {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    qmp_client_execute(peer.client, "stop", NULL, LONG_MS, on_reply_free, &peer, on_destroy);
    ask(&peer, "cont", LONG_MS);
    g_assert_true(test_wait(&peer.replied, 20));
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_cmpuint(peer.replies, ==, 1);
    g_assert_cmpuint(peer.events, ==, 0);
    g_assert_cmpuint(peer.destroyed, ==, 2);
    g_assert_false(peer.closed);
    peer_close(&peer);
}

static void test_free_in_timeout(void)
{
    static const FakeStep steps[] = {HANDSHAKE, {"stop", NULL}, {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    qmp_client_execute(peer.client, "stop", NULL, 30, on_reply_free, &peer, on_destroy);
    g_assert_true(test_wait(&peer.replied, 20));
    g_assert_error(peer.reply_error, HV_ERROR, HV_ERROR_TIMEOUT);
    g_assert_cmpuint(peer.destroyed, ==, 1);
    peer_close(&peer);
}

static void test_free_when_cut(void)
{
    static const FakeStep steps[] = {HANDSHAKE, {"stop", NULL}, {"cont", "CUT"}, {0}};
    Peer peer;
    peer_open(&peer, NULL, steps);
    qmp_client_execute(peer.client, "stop", NULL, LONG_MS, on_reply_free, &peer, on_destroy);
    ask(&peer, "cont", LONG_MS);
    g_assert_true(test_wait(&peer.replied, 20));
    g_assert_cmpuint(peer.replies, ==, 1); // freed: the second is not told
    g_assert_cmpuint(peer.destroyed, ==, 2);
    g_assert_false(peer.closed);
    peer_close(&peer);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp/reply", test_reply);
    g_test_add_func("/qmp/qemu-error", test_qemu_error);
    g_test_add_func("/qmp/order", test_order_and_out_of_order);
    g_test_add_func("/qmp/events-between", test_events_between);
    g_test_add_func("/qmp/late-reply", test_deadline_and_late_reply);
    g_test_add_func("/qmp/deadline-before-greeting", test_deadline_before_greeting);
    g_test_add_func("/qmp/cut", test_cut);
    g_test_add_func("/qmp/garbage", test_garbage);
    g_test_add_func("/qmp/wrong-id", test_wrong_id);
    g_test_add_func("/qmp/no-message", test_no_message);
    g_test_add_func("/qmp/oversized-line", test_oversized_line);
    g_test_add_func("/qmp/bad-greeting", test_bad_greeting);
    g_test_add_func("/qmp/refused-handshake", test_refused_handshake);
    g_test_add_func("/qmp/after-the-end", test_after_the_end);
    g_test_add_func("/qmp/free-in-reply", test_free_in_reply);
    g_test_add_func("/qmp/free-in-timeout", test_free_in_timeout);
    g_test_add_func("/qmp/free-when-cut", test_free_when_cut);
    return g_test_run();
}
