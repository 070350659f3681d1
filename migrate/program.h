// SPDX-License-Identifier: GPL-2.0-or-later
// What vmferry-saver and vmferry-pager have in common: JSON lines to the agent on standard output,
// the end when the agent ends, and that they give way to guests.
#pragma once

#include "migrate/error.h"
#include <jansson.h>
#include <stdbool.h>

// Ends the process when standard input ends: the agent is gone. Nobody else may read it then.
void ferry_program_end_with_agent(void);
// Writes EVENT (taken) as one line; any thread. Without a reader the process ends.
void ferry_program_event(json_t *event);
// The same for a process that goes on without the agent. False: nobody reads it.
bool ferry_program_try_event(json_t *event);
// {"event":"error","code":...,"message":...}; returns the exit code 1.
int ferry_program_failed(const GError *error);

// Whether this thread, and those that it makes from now on, does work that can wait a moment: when
// there is some for it, it takes the processor from nobody that runs already.
void ferry_program_give_way(bool give_way);

const char *ferry_error_code_name(FerryErrorCode code);
// FERRY_ERROR_CHILD where the name is not known.
FerryErrorCode ferry_error_code_from_name(const char *name);
