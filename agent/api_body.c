// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/api_body.h"

static json_t *refuse(json_t *body, GError **error, const char *format, const char *what)
{
    json_decref(body);
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID, format, what);
    return NULL;
}

json_t *api_body(HttpRequest *request, const char *const *keys, GError **error)
{
    if (request->body->len == 0)
        return json_object();
    json_error_t problem;
    json_t *body = json_loadb((const char *)request->body->data, request->body->len,
                              JSON_REJECT_DUPLICATES, &problem);
    if (body == NULL) {
        g_autofree char *why = g_utf8_make_valid(problem.text, -1); // it quotes the body, and may cut it
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                    "the body is not JSON: line %d, column %d: %s", problem.line, problem.column,
                    why);
        return NULL;
    }
    if (!json_is_object(body))
        return refuse(body, error, "the body is not %s", "a JSON object");
    const char *key;
    json_t *value;
    json_object_foreach (body, key, value)
        if (keys != NULL && !g_strv_contains(keys, key))
            return refuse(body, error, "the body's key \"%s\" is not known here", key);
    return body;
}

bool api_body_string(json_t *body, const char *key, const char **value, GError **error)
{
    json_t *found = json_object_get(body, key);
    if (found != NULL && !json_is_null(found) && !json_is_string(found)) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID, "%s: a string is expected", key);
        return false;
    }
    *value = json_string_value(found);
    return true;
}
