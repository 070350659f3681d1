// SPDX-License-Identifier: GPL-2.0-or-later
// A request's body as JSON.
#pragma once

#include "agent/http_request.h"

// The body, or {} where there is none. It has to be an object with no other keys than KEYS
// (NULL-terminated; KEYS NULL: any). A new reference, or NULL and AGENT_ERROR_INVALID.
json_t *api_body(HttpRequest *request, const char *const *keys, GError **error);
// Puts the string of an optional KEY in *VALUE (borrowed from BODY; NULL where it is missing or
// null). False and AGENT_ERROR_INVALID where it is something else.
bool api_body_string(json_t *body, const char *key, const char **value, GError **error);
