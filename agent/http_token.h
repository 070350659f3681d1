// SPDX-License-Identifier: GPL-2.0-or-later
// The secret that clients on TCP have to show.
#pragma once

#include <glib.h>
#include <stdbool.h>

// Reads PATH: a regular file, ours, not readable for others, one line of 16 characters at least.
// AGENT_ERROR_INVALID says what is wrong with it and how to make one. The caller frees.
char *http_token_load(const char *path, GError **error);
// Whether HEADER (the request's Authorization, may be NULL) is "Bearer TOKEN"; the time it takes
// tells nothing about TOKEN.
bool http_token_matches(const char *token, const char *header);
