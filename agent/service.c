// SPDX-License-Identifier: GPL-2.0-or-later
// What an admin asks for through the API.
#include "agent/service.h"

#include "agent/messages.h"
#include "agent/status.h"
#include "agent/vm.h"
#include "agent/watch.h"

#include <string.h>

AgentEvents *agent_events(Agent *agent)
{
    return agent->events;
}

AgentJobs *agent_jobs(Agent *agent)
{
    return agent->jobs;
}

// --- looking ---

json_t *agent_service_cluster(Agent *agent)
{
    json_t *cluster = agent_pacemaker_cluster(agent->pacemaker);
    json_t *nodes = agent_pacemaker_nodes(agent->pacemaker);
    json_t *resources = agent_pacemaker_resources(agent->pacemaker);
    json_object_set_new(cluster, "quorate", json_boolean(agent_cluster_quorate(agent->cluster)));
    json_object_set_new(cluster, "local_node", json_string(agent->name));
    json_object_set_new(cluster, "pacemaker_connected",
                        json_boolean(agent_pacemaker_connected(agent->pacemaker)));
    json_object_set_new(cluster, "nodes", json_integer((json_int_t)json_array_size(nodes)));
    json_object_set_new(cluster, "vms", json_integer((json_int_t)json_array_size(resources)));
    json_object_set_new(cluster, "vmferry_version", json_string(VMFERRY_VERSION));
    json_decref(nodes);
    json_decref(resources);
    return cluster;
}

json_t *agent_service_nodes(Agent *agent, GError **error)
{
    return agent_status_known(agent, error) ? agent_status_nodes(agent) : NULL;
}

json_t *agent_service_vms(Agent *agent, GError **error)
{
    return agent_status_known(agent, error) ? agent_status_vms(agent) : NULL;
}

json_t *agent_service_vm(Agent *agent, const char *name, GError **error)
{
    if (!agent_status_known(agent, error))
        return NULL;
    json_t *vm = agent_status_vm(agent, name);
    if (vm == NULL)
        g_propagate_error(error, agent_status_no_vm(agent, name));
    return vm;
}

char *agent_service_console(Agent *agent, const char *name, GError **error)
{
    g_autofree char *owner = agent_status_owner_of(agent, name);
    AgentVm *vm = agent_vm_find(agent, name);
    if (owner == NULL || strcmp(owner, agent->name) != 0) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT,
                    owner != NULL ? "%s runs on %s" : "%s does not run", name, owner);
        return NULL;
    }
    if (vm->hv == NULL || hv_vm_console_path(vm->hv) == NULL) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT,
                    "%s has no serial console; its definition says \"serial\": \"none\"", name);
        return NULL;
    }
    return g_strdup(hv_vm_console_path(vm->hv));
}

// --- asking ---

typedef struct {
    Agent *agent;
    char *name;
    AgentReplyFn reply;
    gpointer data;
} Request;

static Request *request_new(Agent *agent, const char *name, AgentReplyFn reply, gpointer data)
{
    Request *request = g_new(Request, 1);
    *request =
        (Request){.agent = agent, .name = g_strdup(name), .reply = reply, .data = data};
    return request;
}

static void request_end(Request *request, json_t *result, const GError *error)
{
    request->reply(result, error, request->data);
    g_free(request->name);
    g_free(request);
}

static void end_with_job(Request *request, AgentJob *job)
{
    json_t *result = json_pack("{s:s}", "job", agent_job_id(job));
    request_end(request, result, NULL);
    json_decref(result);
}

static void end_empty(const GError *error, gpointer data)
{
    json_t *result = json_object();
    request_end(data, error == NULL ? result : NULL, error);
    json_decref(result);
}

// Says so before anything is touched.
static bool may_change(Agent *agent, const char *name, AgentReplyFn reply, gpointer data)
{
    g_autoptr(GError) error = NULL;
    if (agent_status_changeable(agent, &error) && name != NULL) {
        json_t *vm = agent_status_vm(agent, name);
        if (vm == NULL)
            error = agent_status_no_vm(agent, name);
        json_decref(vm);
    }
    if (error == NULL)
        return true;
    reply(NULL, error, data);
    return false;
}

static void start_role_set(const GError *error, gpointer data)
{
    Request *request = data;
    if (error != NULL)
        request_end(request, NULL, error);
    else
        end_with_job(request, agent_watch_started(request->agent, "start", request->name));
}

static void start_cleaned(const GError *error, gpointer data)
{
    Request *request = data;
    if (g_error_matches(error, AGENT_ERROR, AGENT_ERROR_UNAVAILABLE)) {
        request_end(request, NULL, error);
        return;
    }
    if (error != NULL) // a failure that is still remembered will show in the job
        g_warning("VM %s: %s", request->name, error->message);
    agent_pacemaker_set_role(request->agent->pacemaker, request->name, true, start_role_set,
                             request);
}

void agent_service_start(Agent *agent, const char *name, AgentReplyFn reply, gpointer data)
{
    if (!may_change(agent, name, reply, data))
        return;
    agent_pacemaker_cleanup(agent->pacemaker, name, start_cleaned,
                            request_new(agent, name, reply, data));
}

static void mode_forgotten(json_t *result, const GError *error, gpointer data)
{
    (void)result;
    (void)data;
    if (error != NULL)
        g_warning("%s", error->message);
}

// The mode was for this stop, not for the next one.
static void forget_mode(Request *request)
{
    g_autofree char *owner = agent_status_owner_of(request->agent, request->name);
    if (owner != NULL)
        agent_messages_call(request->agent, owner, "stop-mode",
                            json_pack("{s:s}", "vm", request->name), mode_forgotten, NULL);
}

static void stop_role_set(const GError *error, gpointer data)
{
    Request *request = data;
    if (error != NULL) {
        forget_mode(request);
        request_end(request, NULL, error);
    } else
        end_with_job(request, agent_watch_stopped(request->agent, "stop", request->name));
}

static void stop_mode_known(json_t *result, const GError *error, gpointer data)
{
    (void)result;
    Request *request = data;
    if (error != NULL)
        request_end(request, NULL, error);
    else
        agent_pacemaker_set_role(request->agent->pacemaker, request->name, false, stop_role_set,
                                 request);
}

void agent_service_stop(Agent *agent, const char *name, const char *mode, AgentReplyFn reply,
                        gpointer data)
{
    if (!may_change(agent, name, reply, data))
        return;
    g_autofree char *owner = agent_status_owner_of(agent, name);
    Request *request = request_new(agent, name, reply, data);
    if (owner == NULL || mode == NULL)
        stop_mode_known(NULL, NULL, request);
    else
        agent_messages_call(agent, owner, "stop-mode",
                            json_pack("{s:s, s:s}", "vm", name, "mode", mode), stop_mode_known,
                            request);
}

void agent_service_save(Agent *agent, const char *name, AgentReplyFn reply, gpointer data)
{
    agent_service_stop(agent, name, "save", reply, data);
}

void agent_service_migrate(Agent *agent, const char *name, const char *to, AgentReplyFn reply,
                           gpointer data)
{
    if (!may_change(agent, name, reply, data))
        return;
    g_autofree char *owner = agent_status_owner_of(agent, name);
    if (owner == NULL) {
        g_autoptr(GError) error =
            g_error_new(AGENT_ERROR, AGENT_ERROR_CONFLICT,
                        "%s does not run; `vmferry start %s` starts it", name, name);
        reply(NULL, error, data);
        return;
    }
    agent_messages_call(agent, owner, "migrate", json_pack("{s:s, s:s*}", "vm", name, "to", to),
                        reply, data);
}

void agent_service_standby(Agent *agent, const char *node, bool standby, AgentReplyFn reply,
                           gpointer data)
{
    if (may_change(agent, NULL, reply, data))
        agent_pacemaker_set_standby(agent->pacemaker, node, standby, end_empty,
                                    request_new(agent, node, reply, data));
}
