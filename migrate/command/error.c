// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/error.h"

G_DEFINE_QUARK(vmferry - command - error - quark, command_error)

typedef struct {
    const char *name;
    int exit_code;
    long http;
} Meaning;

static const Meaning meanings[] = {
    [COMMAND_ERROR_FAILED] = {"failed", EXIT_FAILED, 500},
    [COMMAND_ERROR_JOB_FAILED] = {"failed", EXIT_FAILED, 0},
    [COMMAND_ERROR_USAGE] = {"usage", EXIT_USAGE, 0},
    [COMMAND_ERROR_INVALID] = {"invalid", EXIT_REFUSED, 400},
    [COMMAND_ERROR_UNAUTHORIZED] = {"unauthorized", EXIT_UNREACHABLE, 401},
    [COMMAND_ERROR_NOT_FOUND] = {"not-found", EXIT_NOT_FOUND, 404},
    [COMMAND_ERROR_CONFLICT] = {"conflict", EXIT_REFUSED, 409},
    [COMMAND_ERROR_REFUSED] = {"refused", EXIT_REFUSED, 422},
    [COMMAND_ERROR_UNAVAILABLE] = {"unavailable", EXIT_FAILED, 503},
    [COMMAND_ERROR_TIMEOUT] = {"timeout", EXIT_FAILED, 504},
    [COMMAND_ERROR_UNREACHABLE] = {"unreachable", EXIT_UNREACHABLE, 0},
    [COMMAND_ERROR_FINDINGS] = {"findings", EXIT_FAILED, 0},
    [COMMAND_ERROR_NOT_LOOKED] = {"not-looked", EXIT_NOT_LOOKED, 0},
    [COMMAND_ERROR_INTERRUPTED] = {"interrupted", EXIT_INTERRUPTED, 0},
};

CommandErrorCode command_error_from_http(long status)
{
    if (status == 413)
        return COMMAND_ERROR_INVALID;
    if (status == 403)
        return COMMAND_ERROR_UNAUTHORIZED;
    for (gsize i = 0; i < G_N_ELEMENTS(meanings); i++)
        if (meanings[i].http == status)
            return (CommandErrorCode)i;
    return COMMAND_ERROR_FAILED;
}

static const Meaning *meaning_of(const GError *error)
{
    return &meanings[error->domain == COMMAND_ERROR ? error->code : COMMAND_ERROR_FAILED];
}

int command_error_exit_code(const GError *error)
{
    return meaning_of(error)->exit_code;
}

const char *command_error_name(const GError *error)
{
    return meaning_of(error)->name;
}
