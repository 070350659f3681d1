// SPDX-License-Identifier: GPL-2.0-or-later
// The cluster, its nodes and the jobs.
#include "agent/api.h"

#include "agent/api_body.h"

void api_get_cluster(HttpRequest *request, const char *name)
{
    (void)name;
    http_answer_json(request, MHD_HTTP_OK, agent_service_cluster(request->http->agent));
}

void api_get_doctor(HttpRequest *request, const char *name)
{
    (void)name;
    agent_service_doctor(request->http->agent, http_reply,
                         http_request_expect(request, MHD_HTTP_OK));
}

void api_get_nodes(HttpRequest *request, const char *name)
{
    (void)name;
    g_autoptr(GError) error = NULL;
    json_t *nodes = agent_service_nodes(request->http->agent, &error);
    if (nodes != NULL)
        http_answer_json(request, MHD_HTTP_OK, nodes);
    else
        http_answer_error(request, error);
}

void api_get_node(HttpRequest *request, const char *name)
{
    g_autoptr(GError) error = NULL;
    json_t *nodes = agent_service_nodes(request->http->agent, &error);
    size_t index;
    json_t *node, *found = NULL;
    json_array_foreach (nodes, index, node)
        if (g_strcmp0(json_string_value(json_object_get(node, "name")), name) == 0)
            found = json_incref(node);
    json_decref(nodes);
    if (error != NULL) {
        http_answer_error(request, error);
        return;
    }
    if (found != NULL) {
        http_answer_json(request, MHD_HTTP_OK, found);
        return;
    }
    g_autofree char *message = g_strdup_printf("there is no node \"%s\" in the cluster", name);
    http_answer_problem(request, MHD_HTTP_NOT_FOUND, "not-found", message);
}

void api_put_standby(HttpRequest *request, const char *name)
{
    static const char *const keys[] = {"standby", NULL};
    g_autoptr(GError) error = NULL;
    json_t *body = api_body(request, keys, &error);
    json_t *standby = json_object_get(body, "standby");
    if (body != NULL && !json_is_boolean(standby))
        g_set_error(&error, AGENT_ERROR, AGENT_ERROR_INVALID,
                    "the body has to be {\"standby\": true} or {\"standby\": false}");
    if (error != NULL)
        http_answer_error(request, error);
    else
        agent_service_standby(request->http->agent, name, json_is_true(standby), http_reply,
                              http_request_expect(request, MHD_HTTP_OK));
    json_decref(body);
}

void api_get_jobs(HttpRequest *request, const char *name)
{
    (void)name;
    http_answer_json(request, MHD_HTTP_OK, agent_jobs_list(agent_jobs(request->http->agent)));
}

void api_get_job(HttpRequest *request, const char *name)
{
    json_t *job = agent_jobs_get(agent_jobs(request->http->agent), name);
    if (job != NULL) {
        http_answer_json(request, MHD_HTTP_OK, job);
        return;
    }
    g_autofree char *message =
        g_strdup_printf("there is no job \"%s\"; finished ones are kept for an hour", name);
    http_answer_problem(request, MHD_HTTP_NOT_FOUND, "not-found", message);
}
