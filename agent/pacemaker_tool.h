// SPDX-License-Identifier: GPL-2.0-or-later
// Runs one of Pacemaker's own programs without blocking the main loop.
#pragma once

#include "agent/error.h"

typedef struct PacemakerTool PacemakerTool;

// STATUS is the program's exit code. ERROR says why there is none, or what the program wrote to
// stderr where it is not 0. Called once, from the main loop, unless the tool is freed before.
typedef void (*PacemakerToolDone)(int status, const GError *error, gpointer data);

// Starts ARGV (found in PATH or the usual sbin); kills it after TIMEOUT_S with AGENT_ERROR_TIMEOUT.
// NULL with AGENT_ERROR_FAILED where it cannot be started. Valid until DONE returns.
PacemakerTool *pacemaker_tool_run(const char *const *argv, guint timeout_s, PacemakerToolDone done,
                                  gpointer data, GError **error);
// Kills it; DONE is not called. Not after DONE.
void pacemaker_tool_free(PacemakerTool *tool);
