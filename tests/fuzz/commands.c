// SPDX-License-Identifier: GPL-2.0-or-later
// The agent's commands to saver and pager, over a pipe.
#include "tests/fuzz/fuzz.h"

#include "migrate/commands.h"

#include <string.h>
#include <unistd.h>

enum { PIPE = 32 * 1024 }; // less than what a pipe holds

static bool next(FerryCommands *commands)
{
    g_autoptr(GError) error = NULL;
    json_t *command = ferry_commands_next(commands, &error);
    FUZZ_REQUIRE(command == NULL || error == NULL, "a command, and an error");
    fuzz_check_error(error == NULL, error);
    FUZZ_REQUIRE(command == NULL || json_is_string(json_object_get(command, "cmd")),
                 "a command without a name");
    bool refused = error != NULL && strstr(error->message, "too long") != NULL;
    json_decref(command);
    return !refused; // the pager ends there
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pipes[2];
    size_t lines = 1;
    size = MIN(size, (size_t)PIPE);
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    FUZZ_REQUIRE(pipe(pipes) == 0, "no pipe");
    FUZZ_REQUIRE(write(pipes[1], data, size) == (ssize_t)size, "the pipe is too small");
    close(pipes[1]);
    FerryCommands *commands = ferry_commands_new(pipes[0]);
    size_t calls = 0, limit = lines + 2 * (size / 4096) + 4;
    bool understood = true;
    while (understood && !ferry_commands_ended(commands) && calls++ < limit)
        understood = next(commands);
    FUZZ_REQUIRE(!understood || ferry_commands_ended(commands), "no end after %zu calls", calls);
    ferry_commands_free(commands);
    close(pipes[0]);
    return 0;
}
