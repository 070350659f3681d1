// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/client.h"

#include "migrate/command/error.h"

struct Client {
    GPtrArray *endpoints;
    guint current;
    char *token; // or NULL
};

Client *client_new(const Options *options, GError **error)
{
    g_autoptr(Client) client = g_new0(Client, 1);
    bool needs_token = false;
    client->endpoints = endpoints_find(options, error);
    if (client->endpoints == NULL)
        return NULL;
    for (guint i = 0; i < client->endpoints->len; i++)
        needs_token |= ((Endpoint *)client->endpoints->pdata[i])->socket == NULL;
    if (needs_token && !endpoint_read_token(options, &client->token, error))
        return NULL;
    return g_steal_pointer(&client);
}

void client_free(Client *client)
{
    if (client == NULL)
        return;
    if (client->endpoints != NULL)
        g_ptr_array_unref(client->endpoints);
    g_free(client->token);
    g_free(client);
}

const Endpoint *client_endpoint(const Client *client)
{
    return client->endpoints->pdata[client->current];
}

guint client_endpoints(const Client *client)
{
    return client->endpoints->len;
}

const char *client_token(const Client *client)
{
    return client->token;
}

void client_next_endpoint(Client *client)
{
    client->current = (client->current + 1) % client->endpoints->len;
}

char *client_path(const char *collection, const char *name, const char *suffix)
{
    g_autofree char *escaped = g_uri_escape_string(name, NULL, FALSE);
    return g_strconcat("/v1/", collection, "/", escaped, suffix, NULL);
}

void client_set_error(GError **error, long status, const char *body)
{
    json_t *answer = json_loads(body, 0, NULL);
    json_t *object = json_object_get(answer, "error");
    const char *message = json_string_value(json_object_get(object, "message"));
    g_autofree char *plain =
        g_strdup_printf("the node answered with HTTP status %ld%s", status,
                        status == 401 ? "; is the token in --token-file the cluster's?" : "");
    g_set_error_literal(error, COMMAND_ERROR, command_error_from_http(status),
                        message != NULL ? message : plain);
    json_decref(answer);
}

static json_t *understand(const Endpoint *endpoint, long status, const char *body, GError **error)
{
    if (status < 200 || status >= 300) {
        client_set_error(error, status, body);
        return NULL;
    }
    json_t *answer = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    if (answer == NULL)
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_FAILED,
                    "the answer of %s is no JSON; is that really a vmferryd?", endpoint->name);
    return answer;
}

static bool is_reading(const HttpRequest *request)
{
    return request->method[0] == 'G';
}

// A node that has no part in the cluster now has touched nothing: the next one is asked.
static bool has_not_joined(long status, const char *body)
{
    json_t *answer = status == 503 ? json_loads(body, 0, NULL) : NULL;
    const char *code = json_string_value(json_object_get(json_object_get(answer, "error"), "code"));
    bool apart = g_strcmp0(code, "not-joined") == 0;
    json_decref(answer);
    return apart;
}

// One round over the endpoints. ANYWHERE: a 404 sends to the next one, too.
static json_t *ask(Client *client, const HttpRequest *request, bool anywhere, GError **error)
{
    g_autoptr(GError) not_found = NULL;
    g_autoptr(GError) unreachable = NULL;
    for (guint tries = 0; tries < client->endpoints->len; tries++) {
        const Endpoint *endpoint = client_endpoint(client);
        g_autoptr(GError) failure = NULL;
        g_autoptr(GString) body = NULL;
        long status = 0;
        HttpOutcome outcome =
            http_exchange(endpoint, client->token, request, &status, &body, &failure);
        bool apart = outcome == HTTP_ANSWERED && has_not_joined(status, body->str);
        if (outcome == HTTP_ANSWERED && !apart && !(anywhere && status == 404))
            return understand(endpoint, status, body->str, error);
        if (outcome == HTTP_CUT && !is_reading(request)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return NULL;
        }
        if (apart)
            client_set_error(&failure, status, body->str);
        if (outcome == HTTP_ANSWERED && !apart) {
            g_clear_error(&not_found);
            client_set_error(&not_found, status, body->str);
        } else if (unreachable == NULL) {
            unreachable = g_steal_pointer(&failure);
        }
        client_next_endpoint(client);
    }
    if (unreachable != NULL && client->endpoints->len > 1)
        g_prefix_error(&unreachable, "no node is left to ask; ");
    g_propagate_error(error, unreachable != NULL ? g_steal_pointer(&unreachable)
                                                 : g_steal_pointer(&not_found));
    return NULL;
}

json_t *client_get(Client *client, const char *path, GError **error)
{
    HttpRequest request = {.method = "GET", .path = path, .timeout_ms = CLIENT_GET_MS};
    return ask(client, &request, false, error);
}

json_t *client_get_anywhere(Client *client, const char *path, GError **error)
{
    HttpRequest request = {.method = "GET", .path = path, .timeout_ms = CLIENT_JOB_MS};
    return ask(client, &request, true, error);
}

json_t *client_send(Client *client, const char *method, const char *path, const char *body,
                    size_t length, GError **error)
{
    HttpRequest request = {
        .method = method, .path = path, .body = body, .length = length, .timeout_ms = CLIENT_SEND_MS};
    return ask(client, &request, false, error);
}
