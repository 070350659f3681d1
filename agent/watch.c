// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/watch.h"

#include "agent/status.h"
#include "agent/vm.h"

#include <string.h>

enum { LOOK_MS = 100 };

typedef struct {
    Agent *agent;
    AgentJob *job;
    char *vm;
    bool want_running;
    gint64 since_ms; // wall clock, to tell old errors from new ones
    gint64 deadline_us;
} Watch;

static void watch_free(gpointer data)
{
    Watch *watch = data;
    g_free(watch->vm);
    g_free(watch);
}

static void end(Watch *watch, const GError *error)
{
    g_autofree char *owner = agent_status_owner_of(watch->agent, watch->vm);
    json_t *result = json_pack("{s:s, s:o}", "vm", watch->vm, "node",
                               owner != NULL ? json_string(owner) : json_null());
    agent_job_end(watch->job, error, result);
}

// The newest failure, if every node with an agent has had one since the job began.
static char *failed_everywhere(Watch *watch)
{
    const char *message = NULL;
    guint failed = 0;
    GHashTableIter iter;
    gpointer status;
    g_hash_table_iter_init(&iter, watch->agent->peers);
    while (g_hash_table_iter_next(&iter, NULL, &status)) {
        size_t index;
        json_t *vm;
        json_array_foreach (json_object_get(status, "vms"), index, vm) {
            const char *name = json_string_value(json_object_get(vm, "name"));
            const char *error = json_string_value(json_object_get(vm, "error"));
            if (strcmp(name, watch->vm) != 0 || error == NULL ||
                json_integer_value(json_object_get(vm, "error_at_ms")) < watch->since_ms)
                continue;
            failed++;
            message = error;
        }
    }
    return failed > 0 && failed == g_hash_table_size(watch->agent->peers) ? g_strdup(message)
                                                                           : NULL;
}

static bool is_running(Watch *watch)
{
    json_t *vm = agent_status_vm(watch->agent, watch->vm);
    const char *state = json_string_value(json_object_get(vm, "state"));
    bool running = state != NULL && strcmp(state, "running") == 0;
    json_decref(vm);
    return running;
}

static bool is_done(Watch *watch)
{
    if (watch->want_running)
        return is_running(watch);
    g_autofree char *owner = agent_status_owner_of(watch->agent, watch->vm);
    return owner == NULL;
}

static gboolean look(gpointer data)
{
    Watch *watch = data;
    if (is_done(watch)) {
        end(watch, NULL);
        return G_SOURCE_REMOVE;
    }
    g_autofree char *failure = watch->want_running ? failed_everywhere(watch) : NULL;
    g_autoptr(GError) error = NULL;
    if (failure != NULL)
        error = g_error_new(AGENT_ERROR, AGENT_ERROR_FAILED, "%s does not start on any node: %s",
                            watch->vm, failure);
    else if (g_get_monotonic_time() > watch->deadline_us)
        error = g_error_new(AGENT_ERROR, AGENT_ERROR_TIMEOUT,
                            "Pacemaker has not %s %s in time; `crm_mon -1` and `vmferry events` "
                            "tell why",
                            watch->want_running ? "started" : "stopped", watch->vm);
    if (error == NULL)
        return G_SOURCE_CONTINUE;
    end(watch, error);
    return G_SOURCE_REMOVE;
}

static AgentJob *watch_new(Agent *agent, const char *kind, const char *name, bool want_running)
{
    Watch *watch = g_new0(Watch, 1);
    watch->agent = agent;
    watch->job = agent_job_start(agent->jobs, kind, name);
    watch->vm = g_strdup(name);
    watch->want_running = want_running;
    watch->since_ms = g_get_real_time() / 1000;
    watch->deadline_us =
        g_get_monotonic_time() + (want_running ? AGENT_WATCH_START_S : AGENT_WATCH_STOP_S) * G_USEC_PER_SEC;
    agent_job_phase(watch->job, want_running ? "starting" : "stopping");
    g_timeout_add_full(G_PRIORITY_DEFAULT, LOOK_MS, look, watch, watch_free);
    return watch->job;
}

AgentJob *agent_watch_started(Agent *agent, const char *kind, const char *name)
{
    return watch_new(agent, kind, name, true);
}

AgentJob *agent_watch_stopped(Agent *agent, const char *kind, const char *name)
{
    return watch_new(agent, kind, name, false);
}
