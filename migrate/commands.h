// SPDX-License-Identifier: GPL-2.0-or-later
// What the agent tells a child on standard input: one JSON object a line. One thread.
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

typedef struct FerryCommands FerryCommands;

FerryCommands *ferry_commands_new(int fd); // borrows FD
void ferry_commands_free(FerryCommands *commands);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryCommands, ferry_commands_free)

// The next command, which the caller unrefs, or NULL: there is none yet, or none will come any more
// (ferry_commands_ended). Does not block. FERRY_ERROR_CHILD: a line is no command.
json_t *ferry_commands_next(FerryCommands *commands, GError **error);
bool ferry_commands_ended(const FerryCommands *commands);
// To poll for input; -1 at the end.
int ferry_commands_fd(const FerryCommands *commands);
