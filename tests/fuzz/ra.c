// SPDX-License-Identifier: GPL-2.0-or-later
// The resource agent's requests, by the real socket to the real service: each gets one answer, or
// waits for what the agent does.
#include "tests/fuzz/fuzz.h"

#include "agent/ra_socket.h"
#include "tests/fuzz/agent_fixture.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX = 64 * 1024 }; // less than what a socket takes at once

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    if (geteuid() != 0) {
        g_printerr("only root may ask at the resource agent's socket\n");
        exit(77);
    }
    agent_fixture_init();
    return 0;
}

static int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *path = g_build_filename(agent_fixture_run_dir(), "ra.sock", NULL);
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    FUZZ_REQUIRE(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "%s", path);
    return fd;
}

static void check_answer(const char *text, size_t length)
{
    json_t *answer = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    json_int_t ocf = json_integer_value(json_object_get(answer, "ocf"));
    FUZZ_REQUIRE(json_is_integer(json_object_get(answer, "ocf")) && ocf >= 0 && ocf < 256,
                 "exit code in %.*s", (int)length, text);
    FUZZ_REQUIRE(json_is_string(json_object_get(answer, "message")), "no message");
    json_decref(answer);
}

static void ask(const uint8_t *data, size_t size)
{
    g_autofree char *answer = g_malloc(MAX);
    int fd = dial();
    FUZZ_REQUIRE(send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size, "sending");
    fuzz_run_loop();
    ssize_t length = recv(fd, answer, MAX, MSG_DONTWAIT);
    if (length > 0)
        check_answer(answer, (size_t)length);
    FUZZ_REQUIRE(length <= 0 || recv(fd, answer, MAX, MSG_DONTWAIT) <= 0, "two answers");
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    guint mark = fuzz_sources_mark();
    Agent *agent = agent_fixture_new();
    agent->ra = agent_ra_socket_new(agent, agent_fixture_run_dir(), &error);
    FUZZ_REQUIRE(agent->ra != NULL, "%s", error->message);
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t length = end != NULL ? (size_t)(end - data) - at : size - at;
        if (length > 0)
            ask(data + at, MIN(length, (size_t)MAX));
        at += length + 1;
    }
    agent_fixture_free(agent);
    fuzz_sources_drop(mark);
    return 0;
}
