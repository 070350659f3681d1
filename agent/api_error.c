// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/api_error.h"

#include "agent/error.h"
#include "hvcore/error.h"

typedef struct {
    unsigned status;
    const char *code;
} Shown;

static const Shown table[] = {
    [AGENT_ERROR_INVALID] = {400, "invalid"},
    [AGENT_ERROR_UNAUTHORIZED] = {401, "unauthorized"},
    [AGENT_ERROR_NOT_FOUND] = {404, "not-found"},
    [AGENT_ERROR_CONFLICT] = {409, "conflict"},
    [AGENT_ERROR_REFUSED] = {422, "refused"},
    [AGENT_ERROR_FAILED] = {500, "failed"},
    [AGENT_ERROR_UNAVAILABLE] = {503, "unavailable"},
    [AGENT_ERROR_TIMEOUT] = {504, "timeout"},
    [AGENT_ERROR_NOT_JOINED] = {503, "not-joined"},
};

static const Shown *shown(const GError *error)
{
    if (error->domain == AGENT_ERROR && (guint)error->code < G_N_ELEMENTS(table))
        return &table[error->code];
    if (g_error_matches(error, HV_ERROR, HV_ERROR_DEFINITION))
        return &table[AGENT_ERROR_INVALID];
    if (g_error_matches(error, HV_ERROR, HV_ERROR_RESOURCE))
        return &table[AGENT_ERROR_REFUSED];
    return &table[AGENT_ERROR_FAILED];
}

unsigned api_error_status(const GError *error)
{
    return shown(error)->status;
}

const char *api_error_code(const GError *error)
{
    return shown(error)->code;
}

json_t *api_error_json(const char *code, const char *message)
{
    g_autofree char *valid = g_utf8_make_valid(message, -1);
    return json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", valid);
}
