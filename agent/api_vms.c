// SPDX-License-Identifier: GPL-2.0-or-later
// What can be asked of VMs.
#include "agent/api.h"

#include "agent/api_body.h"

#include <string.h>

void api_get_vms(HttpRequest *request, const char *name)
{
    (void)name;
    g_autoptr(GError) error = NULL;
    json_t *vms = agent_service_vms(request->http->agent, &error);
    if (vms != NULL)
        http_answer_json(request, MHD_HTTP_OK, vms);
    else
        http_answer_error(request, error);
}

void api_get_vm(HttpRequest *request, const char *name)
{
    g_autoptr(GError) error = NULL;
    json_t *vm = agent_service_vm(request->http->agent, name, &error);
    if (vm != NULL)
        http_answer_json(request, MHD_HTTP_OK, vm);
    else
        http_answer_error(request, error);
}

// --- definitions ---

// Whether the body may be a definition, of VM where that is given. The agent checks the rest.
static bool check_definition(HttpRequest *request, const char *vm, GError **error)
{
    json_t *body = api_body(request, NULL, error);
    if (body == NULL)
        return false;
    const char *name = json_string_value(json_object_get(body, "name"));
    if (request->body->len == 0)
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                    "the body is empty; it has to be the VM's definition");
    else if (vm != NULL && g_strcmp0(name, vm) != 0)
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                    "name: the definition is of \"%s\", the path of \"%s\"; a VM keeps its name",
                    name != NULL ? name : "", vm);
    bool good = request->body->len > 0 && (vm == NULL || g_strcmp0(name, vm) == 0);
    json_decref(body);
    return good;
}

static void define(HttpRequest *request, bool update, bool start, unsigned status)
{
    agent_service_define(request->http->agent, (const char *)request->body->data,
                         request->body->len, update, start, http_reply,
                         http_request_expect(request, status));
}

void api_post_vms(HttpRequest *request, const char *name)
{
    g_autoptr(GError) error = NULL;
    const char *start = http_request_argument(request, "start");
    if (start != NULL && strcmp(start, "true") != 0 && strcmp(start, "false") != 0)
        g_set_error(&error, AGENT_ERROR, AGENT_ERROR_INVALID,
                    "start: \"%s\" is neither true nor false", start);
    if (error == NULL && check_definition(request, name, &error))
        define(request, false, g_strcmp0(start, "false") != 0, MHD_HTTP_CREATED);
    else
        http_answer_error(request, error);
}

void api_put_vm(HttpRequest *request, const char *name)
{
    g_autoptr(GError) error = NULL;
    if (check_definition(request, name, &error))
        define(request, true, false, MHD_HTTP_OK);
    else
        http_answer_error(request, error);
}

void api_delete_vm(HttpRequest *request, const char *name)
{
    agent_service_undefine(request->http->agent, name, http_reply,
                           http_request_expect(request, MHD_HTTP_OK));
}

// --- running ---

void api_post_start(HttpRequest *request, const char *name)
{
    agent_service_start(request->http->agent, name, http_reply,
                        http_request_expect(request, MHD_HTTP_ACCEPTED));
}

static bool check_mode(const char *mode, GError **error)
{
    static const char *const modes[] = {"save", "shutdown", "poweroff", NULL};
    if (mode == NULL || g_strv_contains(modes, mode))
        return true;
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                "mode: \"%s\" is none of save, shutdown, poweroff", mode);
    return false;
}

void api_post_stop(HttpRequest *request, const char *name)
{
    static const char *const keys[] = {"mode", NULL};
    g_autoptr(GError) error = NULL;
    json_t *body = api_body(request, keys, &error);
    const char *mode = NULL;
    if (body != NULL && api_body_string(body, "mode", &mode, &error) && check_mode(mode, &error))
        agent_service_stop(request->http->agent, name, mode, http_reply,
                           http_request_expect(request, MHD_HTTP_ACCEPTED));
    else
        http_answer_error(request, error);
    json_decref(body);
}

void api_post_save(HttpRequest *request, const char *name)
{
    agent_service_save(request->http->agent, name, http_reply,
                       http_request_expect(request, MHD_HTTP_ACCEPTED));
}

void api_post_migrate(HttpRequest *request, const char *name)
{
    static const char *const keys[] = {"to", NULL};
    g_autoptr(GError) error = NULL;
    json_t *body = api_body(request, keys, &error);
    const char *to = NULL;
    if (body != NULL && api_body_string(body, "to", &to, &error))
        agent_service_migrate(request->http->agent, name, to, http_reply,
                              http_request_expect(request, MHD_HTTP_ACCEPTED));
    else
        http_answer_error(request, error);
    json_decref(body);
}

void api_post_discard(HttpRequest *request, const char *name)
{
    agent_service_discard(request->http->agent, name, http_reply,
                          http_request_expect(request, MHD_HTTP_OK));
}
