// SPDX-License-Identifier: GPL-2.0-or-later
// What saver and pager report. A process for each input would be slow: the child's source is taken
// in here, and its output is a pipe's.
#include "tests/fuzz/fuzz.h"

#include "migrate/child.c"

static void on_event(const char *name, json_t *event, gpointer data)
{
    (void)data;
    FUZZ_REQUIRE(strcmp(name, json_string_value(json_object_get(event, "event"))) == 0, "%s", name);
    g_autoptr(GError) error = ferry_child_error(event);
    FUZZ_REQUIRE(g_utf8_validate(error->message, -1, NULL), "an error that is not UTF-8");
    FUZZ_REQUIRE(error->code >= 0 && error->code <= FERRY_ERROR_TIMEOUT, "code %d", error->code);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    return 0;
}

static void feed(FerryChild *child, int to, FuzzInput *input)
{
    size_t length;
    const uint8_t *bytes = fuzz_bytes(input, (size_t)INPUT - 1, &length);
    FUZZ_REQUIRE(write(to, bytes, length) == (ssize_t)length, "the pipe is too small");
    FUZZ_REQUIRE(read_some(child) || child->line->len + length > LINE_MAX_BYTES,
                 "reading ended early");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pipes[2];
    FuzzInput input = {data, size};
    FUZZ_REQUIRE(pipe(pipes) == 0, "no pipe");
    FerryChild child = {.references = 1,
                        .name = (char *)"vmferry-saver",
                        .events = {.event = on_event},
                        .from = pipes[0],
                        .line = g_string_new(NULL)};
    g_unix_set_fd_nonblocking(pipes[0], TRUE, NULL);
    while (input.size > 0 && child.line->len <= LINE_MAX_BYTES - INPUT)
        feed(&child, pipes[1], &input);
    close(pipes[1]);
    drain(&child);
    FUZZ_REQUIRE(memchr(child.line->str, '\n', child.line->len) == NULL, "a line is left");
    g_string_free(child.line, TRUE);
    close(pipes[0]);
    return 0;
}
