// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/program.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const code_names[] = {
    [FERRY_ERROR_IO] = "io",           [FERRY_ERROR_FORMAT] = "format",
    [FERRY_ERROR_TOO_SMALL] = "too-small", [FERRY_ERROR_CORRUPT] = "corrupt",
    [FERRY_ERROR_STATE] = "state",     [FERRY_ERROR_OTHER_VM] = "other-vm",
    [FERRY_ERROR_STREAM] = "stream",   [FERRY_ERROR_CHILD] = "child",
};

const char *ferry_error_code_name(FerryErrorCode code)
{
    return code < G_N_ELEMENTS(code_names) ? code_names[code] : "child";
}

FerryErrorCode ferry_error_code_from_name(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(code_names); i++)
        if (g_strcmp0(name, code_names[i]) == 0)
            return (FerryErrorCode)i;
    return FERRY_ERROR_CHILD;
}

static gpointer wait_for_end(gpointer data)
{
    char bytes[256];
    ssize_t n;
    (void)data;
    do
        n = read(STDIN_FILENO, bytes, sizeof(bytes));
    while (n > 0 || (n < 0 && errno == EINTR));
    _exit(1);
}

void ferry_program_end_with_agent(void)
{
    g_thread_unref(g_thread_new("stdin", wait_for_end, NULL));
}

bool ferry_program_try_event(json_t *event)
{
    char *line = json_dumps(event, JSON_COMPACT);
    json_decref(event);
    bool fine = printf("%s\n", line) >= 0 && fflush(stdout) == 0;
    free(line);
    return fine;
}

void ferry_program_event(json_t *event)
{
    if (!ferry_program_try_event(event))
        _exit(1);
}

void ferry_program_give_way(bool give_way)
{
    const struct sched_param normal = {0};
    (void)sched_setscheduler(0, give_way ? SCHED_BATCH : SCHED_OTHER, &normal);
}

int ferry_program_failed(const GError *error)
{
    FerryErrorCode code =
        error->domain == FERRY_ERROR ? (FerryErrorCode)error->code : FERRY_ERROR_CHILD;
    g_autofree char *valid = g_utf8_make_valid(error->message, -1); // it may hold a path's bytes
    ferry_program_event(json_pack("{s:s, s:s, s:s}", "event", "error", "code",
                                  ferry_error_code_name(code), "message", valid));
    return 1;
}
