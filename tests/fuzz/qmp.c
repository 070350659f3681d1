// SPDX-License-Identifier: GPL-2.0-or-later
// QMP replies and events, against commands that wait: each is answered once, the end told once.
#include "tests/fuzz/fuzz.h"

#include "hvcore/qmp.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { COMMANDS = 3, DEADLINE_MS = 1000 * 1000 };

typedef struct {
    QmpClient *client;
    unsigned answered[COMMANDS + 1], destroyed[COMMANDS + 1], closed;
    bool free_in_callback, execute_in_callback;
} Talk;

typedef struct {
    Talk *talk;
    unsigned number;
} Asked;

static void execute(Talk *talk, unsigned number);

static void on_reply(json_t *result, const GError *error, gpointer data)
{
    Asked *asked = data;
    Talk *talk = asked->talk;
    fuzz_check_error(result != NULL, error);
    FUZZ_REQUIRE(++talk->answered[asked->number] == 1, "command %u is answered again",
                 asked->number);
    if (talk->execute_in_callback && asked->number == 0)
        execute(talk, COMMANDS);
    if (talk->free_in_callback)
        g_clear_pointer(&talk->client, qmp_client_free);
}

static void on_destroy(gpointer data)
{
    Asked *asked = data;
    FUZZ_REQUIRE(++asked->talk->destroyed[asked->number] == 1, "destroyed again");
    g_free(asked);
}

static void execute(Talk *talk, unsigned number)
{
    Asked *asked = g_new(Asked, 1);
    *asked = (Asked){talk, number};
    qmp_client_execute(talk->client, "query-status", NULL, DEADLINE_MS, on_reply, asked,
                       on_destroy);
}

static void on_event(json_t *data, gpointer pointer)
{
    (void)data;
    Talk *talk = pointer;
    FUZZ_REQUIRE(talk->closed == 0, "an event after the end");
}

static void on_closed(const GError *error, gpointer data)
{
    Talk *talk = data;
    fuzz_check_error(false, error);
    FUZZ_REQUIRE(++talk->closed == 1, "the end is told again");
}

static const QmpEvent events[] = {
    {"MIGRATION", on_event}, {"SHUTDOWN", on_event}, {"STOP", on_event}};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    return 0;
}

static void converse(Talk *talk, int peer, FuzzInput *input)
{
    char sent[4096];
    while (talk->client != NULL && input->size > 0) {
        size_t length;
        const uint8_t *bytes = fuzz_bytes(input, 4096, &length);
        if (send(peer, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        fuzz_run_loop();
        while (recv(peer, sent, sizeof sent, MSG_DONTWAIT) > 0)
            ;
    }
}

static void finish(Talk *talk, int peer, bool drain)
{
    shutdown(peer, SHUT_WR);
    if (drain && talk->client != NULL)
        qmp_client_drain(talk->client);
    fuzz_run_loop();
    if (talk->client == NULL)
        return;
    FUZZ_REQUIRE(talk->closed == 1, "the end is not told");
    for (unsigned i = 0; i < COMMANDS; i++)
        FUZZ_REQUIRE(talk->answered[i] == 1, "command %u has no answer", i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    FuzzInput input = {data, size};
    uint8_t how = fuzz_u8(&input);
    guint mark = fuzz_sources_mark();
    Talk talk = {.free_in_callback = (how & 7) == 1, .execute_in_callback = (how & 2) != 0};
    FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "no sockets");
    talk.client = qmp_client_new(ends[0], events, G_N_ELEMENTS(events), on_closed, &talk);
    for (unsigned i = 0; i < COMMANDS; i++)
        execute(&talk, i);
    converse(&talk, ends[1], &input);
    finish(&talk, ends[1], (how & 8) != 0);
    g_clear_pointer(&talk.client, qmp_client_free);
    fuzz_sources_drop(mark);
    close(ends[1]);
    for (unsigned i = 0; i < COMMANDS; i++)
        FUZZ_REQUIRE(talk.destroyed[i] == 1, "command %u is left behind", i);
    return 0;
}
