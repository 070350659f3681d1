// SPDX-License-Identifier: GPL-2.0-or-later
// The API as the subcommands use it: asks the nodes in turn, parses their JSON and turns their
// errors into GErrors of COMMAND_ERROR.
#pragma once

#include "migrate/command/http.h"

#include <jansson.h>

enum {
    CLIENT_GET_MS = 15 * 1000,
    CLIENT_JOB_MS = 5 * 1000,   // for a look at a job
    CLIENT_SEND_MS = 180 * 1000, // several changes in turn wait for Pacemaker
};

typedef struct Client Client;

// Finds endpoints and token; asks nobody yet.
Client *client_new(const Options *options, GError **error);
void client_free(Client *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Client, client_free)

// A new reference to the answer, or NULL. Any node may answer: where one cannot be reached the next
// is asked, beginning with the one that answered last.
json_t *client_get(Client *client, const char *path, GError **error);
// POST, PUT or DELETE with BODY (NULL: none) of LENGTH bytes. Another node is asked only where
// nothing was sent, so that nothing is done twice.
json_t *client_send(Client *client, const char *method, const char *path, const char *body,
                    size_t length, GError **error);
// As client_get() for something that only some nodes may know (a job): a 404 of one node counts
// only if no other node is left that could know better.
json_t *client_get_anywhere(Client *client, const char *path, GError **error);

const Endpoint *client_endpoint(const Client *client); // the one that answered last
const char *client_token(const Client *client);        // or NULL
guint client_endpoints(const Client *client);          // how many there are
void client_next_endpoint(Client *client);

// "/v1/vms/NAME" + SUFFIX, escaped. The caller frees.
char *client_path(const char *collection, const char *name, const char *suffix);
// The error that BODY (the answer to a request with STATUS) holds.
void client_set_error(GError **error, long status, const char *body);
