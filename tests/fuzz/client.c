// SPDX-License-Identifier: GPL-2.0-or-later
// A node's answers as the command understands and prints them. The exchange is a fake's: the input
// is a status and a body for each request.
#include "tests/fuzz/fuzz.h"

#include "migrate/command/commands.h"
#include "migrate/command/error.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

static FuzzInput answers;

// Takes the place of command/http.c's.
HttpOutcome __wrap_http_exchange(const Endpoint *endpoint, const char *token,
                                 const HttpRequest *request, long *status, GString **body,
                                 GError **error);
HttpOutcome __wrap_http_exchange(const Endpoint *endpoint, const char *token,
                                 const HttpRequest *request, long *status, GString **body,
                                 GError **error)
{
    static const long statuses[] = {200, 200, 200, 201, 202, 400, 401, 404, 409, 422, 500, 503};
    (void)token, (void)request;
    if (answers.size == 0) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_FAILED, "%s: it hung up", endpoint->name);
        return HTTP_CUT;
    }
    const uint8_t *end = memchr(answers.data, '\n', answers.size);
    size_t length = end != NULL ? (size_t)(end - answers.data) : answers.size;
    *status = statuses[answers.data[0] % G_N_ELEMENTS(statuses)];
    *body = g_string_new_len((const char *)answers.data + 1, (gssize)(length > 0 ? length - 1 : 0));
    size_t used = MIN(MAX(length, (size_t)1) + (end != NULL && length > 0), answers.size);
    answers.data += used;
    answers.size -= used;
    return HTTP_ANSWERED;
}

// Nothing is waited for: the next answer is there.
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    (void)fds, (void)n, (void)timeout_ms;
    return 0;
}

static Client *client;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    g_autoptr(GError) error = NULL;
    Options options = {.url = (char *)"http://n1:1,http://n2:1", .token_file = (char *)"/dev/null"};
    fuzz_log_quietly();
    client = client_new(&options, &error);
    FUZZ_REQUIRE(client != NULL, "%s", error->message);
    FUZZ_REQUIRE(freopen("/dev/null", "w", stdout) != NULL, "no /dev/null");
    return 0;
}

typedef struct {
    CommandRun run;
    const char *argument;
} Command;

static const Command commands[] = {
    {command_list, NULL},     {command_show, "web"},  {command_status, NULL},
    {command_node, NULL},     {command_node, "n1"},   {command_jobs, NULL},
    {command_events, NULL},   {command_start, "web"}, {command_discard, "web"},
    {command_migrate, "web"},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    answers = (FuzzInput){data, size};
    uint8_t how = fuzz_u8(&answers);
    const Command *command = &commands[how % G_N_ELEMENTS(commands)];
    Options options = {.json = (how & 0x80) != 0, .no_wait = (how & 0x40) == 0, .since = -1};
    char *arguments[] = {(char *)(uintptr_t)command->argument, NULL};
    bool fine = command->run(client, &options, arguments, &error);
    FUZZ_REQUIRE(fine == (error == NULL), "%s", fine ? "an error" : "no error");
    return 0;
}
