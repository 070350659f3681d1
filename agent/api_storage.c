// SPDX-License-Identifier: GPL-2.0-or-later
// What can be asked of VMs' storage.
#include "agent/api.h"

#include "agent/api_body.h"

static void ask(HttpRequest *request, const char *action, const char *vm, const char *node)
{
    agent_service_storage(request->http->agent, action, vm, node, http_reply,
                          http_request_expect(request, MHD_HTTP_OK));
}

void api_get_storage(HttpRequest *request, const char *name)
{
    ask(request, "report", name, NULL);
}

static void change(HttpRequest *request, const char *action, const char *name)
{
    static const char *const keys[] = {"node", NULL};
    g_autoptr(GError) error = NULL;
    json_t *body = api_body(request, keys, &error);
    const char *node = NULL;
    if (body != NULL && api_body_string(body, "node", &node, &error))
        ask(request, action, name, node);
    else
        http_answer_error(request, error);
    json_decref(body);
}

void api_post_storage_login(HttpRequest *request, const char *name)
{
    change(request, "login", name);
}

void api_post_storage_logout(HttpRequest *request, const char *name)
{
    change(request, "logout", name);
}
