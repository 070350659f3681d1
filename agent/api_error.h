// SPDX-License-Identifier: GPL-2.0-or-later
// Errors as the API shows them.
#pragma once

#include <glib.h>
#include <jansson.h>

unsigned api_error_status(const GError *error);  // of AGENT_ERROR, HV_ERROR or any other domain
const char *api_error_code(const GError *error); // "not-found"
// {"error":{"code":CODE,"message":MESSAGE}}, a new reference; MESSAGE need not be UTF-8.
json_t *api_error_json(const char *code, const char *message);
