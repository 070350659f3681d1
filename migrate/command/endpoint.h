// SPDX-License-Identifier: GPL-2.0-or-later
// Where the API is to be found: the nodes' URLs or this node's unix socket, and the token.
#pragma once

#include "migrate/command/options.h"

typedef struct {
    char *base;   // "http://10.77.0.11:7791", no slash at the end; for a socket "http://localhost"
    char *socket; // path, or NULL
    char *name;   // as messages show it
} Endpoint;

Endpoint *endpoint_new(const char *url, GError **error);
void endpoint_free(Endpoint *endpoint);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Endpoint, endpoint_free)

// The first of: --url, $VMFERRY_URL, /run/vmferry/api.sock, http://127.0.0.1:7791. An array of
// Endpoint, at least one.
GPtrArray *endpoints_find(const Options *options, GError **error);

// Sets TOKEN (the caller frees) from --token-file, $VMFERRY_TOKEN_FILE or /etc/vmferry/token; NULL
// where only the last of them is left and does not exist. A file that was named must be readable.
bool endpoint_read_token(const Options *options, char **token, GError **error);
