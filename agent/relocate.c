// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/relocate.h"

#include "agent/messages.h"
#include "agent/status.h"

#include <string.h>

enum { LOOK_MS = 100 };

typedef struct {
    Agent *agent;
    char *vm, *node;
    AgentJob *job;
    bool preferred;
    bool left; // it has stopped here
    gint64 begin_us, preferred_us;
    AgentRelocated done;
    gpointer data;
} Relocation;

static void end(Relocation *relocation, json_t *result, const GError *error)
{
    AgentVm *vm = agent_vm_find(relocation->agent, relocation->vm);
    if (vm != NULL && vm->state == AGENT_VM_RUNNING)
        g_clear_pointer(&vm->stop_mode, g_free);
    relocation->done(result, relocation->preferred, error, relocation->data);
    json_decref(result);
    g_free(relocation->vm);
    g_free(relocation->node);
    g_free(relocation);
}

static double ms_since(gint64 us)
{
    return (double)(g_get_monotonic_time() - us) / 1000;
}

static void arrived(Relocation *relocation)
{
    agent_events_add(relocation->agent->events, "info", "move.done", relocation->vm, NULL,
                     "%s was saved on %s and goes on on %s, with its file system", relocation->vm,
                     relocation->agent->name, relocation->node);
    end(relocation,
        json_pack("{s:s, s:s, s:s, s:f}", "from", relocation->agent->name, "to", relocation->node,
                  "mode", "restart", "total_ms", ms_since(relocation->begin_us)),
        NULL);
}

// Why it does not go on; NULL: it may still.
static GError *why_not(Relocation *relocation, const char *owner)
{
    bool stays = !relocation->left && owner != NULL && strcmp(owner, relocation->agent->name) == 0;
    if (stays && ms_since(relocation->preferred_us) > AGENT_RELOCATE_BEGIN_MS)
        return g_error_new(AGENT_ERROR, AGENT_ERROR_TIMEOUT,
                           "Pacemaker has not begun to move %s within %d s; `crm_mon -1` tells why",
                           relocation->vm, AGENT_RELOCATE_BEGIN_MS / 1000);
    if (relocation->left && owner != NULL && strcmp(owner, relocation->node) != 0)
        return g_error_new(
            AGENT_ERROR, AGENT_ERROR_FAILED,
            "%s did not start on %s and runs on %s again; `vmferry events` tells why",
            relocation->vm, relocation->node, owner);
    if (ms_since(relocation->preferred_us) > AGENT_RELOCATE_S * 1000.0)
        return g_error_new(AGENT_ERROR, AGENT_ERROR_TIMEOUT,
                           "%s does not run on %s yet; `crm_mon -1` and `vmferry events` tell why",
                           relocation->vm, relocation->node);
    return NULL;
}

static bool runs_there(Relocation *relocation, const char *owner)
{
    json_t *vm = agent_status_vm(relocation->agent, relocation->vm);
    bool running = g_strcmp0(json_string_value(json_object_get(vm, "state")), "running") == 0;
    json_decref(vm);
    return running && owner != NULL && strcmp(owner, relocation->node) == 0;
}

static gboolean look(gpointer data)
{
    Relocation *relocation = data;
    g_autofree char *owner = agent_status_owner_of(relocation->agent, relocation->vm);
    AgentVm *vm = agent_vm_find(relocation->agent, relocation->vm);
    relocation->left = relocation->left || vm == NULL || vm->state == AGENT_VM_ABSENT;
    if (relocation->left)
        agent_job_phase(relocation->job, "starting");
    if (runs_there(relocation, owner)) {
        arrived(relocation);
        return G_SOURCE_REMOVE;
    }
    g_autoptr(GError) error = why_not(relocation, owner);
    if (error == NULL)
        return G_SOURCE_CONTINUE;
    end(relocation, NULL, error);
    return G_SOURCE_REMOVE;
}

static void preferred(const GError *error, gpointer data)
{
    Relocation *relocation = data;
    if (error != NULL) {
        end(relocation, NULL, error);
        return;
    }
    relocation->preferred_us = g_get_monotonic_time();
    agent_job_phase(relocation->job, "save");
    g_timeout_add(LOOK_MS, look, relocation);
}

static bool still_here(Relocation *relocation, GError **error)
{
    AgentVm *vm = agent_vm_find(relocation->agent, relocation->vm);
    if (vm != NULL && vm->state == AGENT_VM_RUNNING)
        return true;
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT, "%s does not run on %s any more",
                relocation->vm, relocation->agent->name);
    return false;
}

// RESULT: [{"error": text or null}].
static void rehearsed(json_t *result, const GError *cause, gpointer data)
{
    Relocation *relocation = data;
    const char *refusal = json_string_value(json_object_get(json_array_get(result, 0), "error"));
    g_autoptr(GError) error = cause != NULL ? g_error_copy(cause) : NULL;
    if (error == NULL && refusal != NULL)
        error = g_error_new(AGENT_ERROR, AGENT_ERROR_REFUSED, "%s", refusal);
    if (error == NULL)
        (void)still_here(relocation, &error);
    if (error != NULL) {
        g_prefix_error(&error, "%s: ", relocation->node);
        end(relocation, NULL, error);
        return;
    }
    AgentVm *vm = agent_vm_find(relocation->agent, relocation->vm);
    g_free(vm->stop_mode);
    vm->stop_mode = g_strdup("save");
    relocation->preferred = true;
    agent_pacemaker_prefer(relocation->agent->pacemaker, relocation->vm, relocation->node,
                           relocation->agent->name, AGENT_MIGRATE_LIFETIME_S, preferred,
                           relocation);
}

void agent_relocate(AgentVm *vm, const char *node, AgentJob *job, AgentRelocated done,
                    gpointer data)
{
    Relocation *relocation = g_new0(Relocation, 1);
    *relocation = (Relocation){.agent = vm->agent,
                               .vm = g_strdup(vm->name),
                               .node = g_strdup(node),
                               .job = job,
                               .begin_us = g_get_monotonic_time(),
                               .done = done,
                               .data = data};
    agent_job_phase(job, "rehearse");
    agent_messages_call(vm->agent, node, "storage",
                        json_pack("{s:s, s:s}", "action", "rehearse", "vm", vm->name), rehearsed,
                        relocation);
}
