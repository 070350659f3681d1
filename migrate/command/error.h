// SPDX-License-Identifier: GPL-2.0-or-later
// The command's one error domain: the API's error codes and the command's own, each with the exit
// code that it leads to.
#pragma once

#include <glib.h>

#define COMMAND_ERROR (command_error_quark())
GQuark command_error_quark(void);

typedef enum {
    COMMAND_ERROR_FAILED,
    COMMAND_ERROR_JOB_FAILED, // with --json, its object is on stdout already
    COMMAND_ERROR_USAGE,      // the command line
    COMMAND_ERROR_INVALID,    // 400 and 413, and a definition that is no JSON
    COMMAND_ERROR_UNAUTHORIZED,
    COMMAND_ERROR_NOT_FOUND,
    COMMAND_ERROR_CONFLICT,
    COMMAND_ERROR_REFUSED,
    COMMAND_ERROR_UNAVAILABLE, // 503: a node answered, but the cluster cannot do it now
    COMMAND_ERROR_TIMEOUT,
    COMMAND_ERROR_UNREACHABLE, // no node answered
    COMMAND_ERROR_FINDINGS,    // doctor has found something, and printed it
    COMMAND_ERROR_NOT_LOOKED,  // doctor: the node answered, but could not look
    COMMAND_ERROR_INTERRUPTED, // Ctrl-C while a job was followed; the job goes on
} CommandErrorCode;

// The documented exit codes.
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_REFUSED = 4,
    EXIT_UNREACHABLE = 5,
    EXIT_NOT_LOOKED = 6,
    EXIT_INTERRUPTED = 130,
};

CommandErrorCode command_error_from_http(long status);
int command_error_exit_code(const GError *error);
// The API's word for it: "not-found".
const char *command_error_name(const GError *error);
