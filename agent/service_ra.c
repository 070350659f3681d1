// SPDX-License-Identifier: GPL-2.0-or-later
// What Pacemaker asks for through the resource agent. Every operation may be asked again: a
// resource agent whose connection broke does so.
#include "agent/service.h"

#include "agent/load.h"
#include "agent/migrate.h"
#include "agent/move_in.h"
#include "agent/move_out.h"
#include "agent/status.h"
#include "hvcore/filesystem.h"

#include <string.h>

enum {
    OCF_SUCCESS = 0,
    OCF_ERR_GENERIC = 1,
    OCF_ERR_CONFIGURED = 6,
    OCF_NOT_RUNNING = 7,
};

typedef struct {
    AgentRaReplyFn reply;
    gpointer data;
} RaCall;

static void answer(AgentVm *vm, const GError *error, gpointer data)
{
    (void)vm;
    g_autofree RaCall *call = data;
    call->reply(error == NULL ? OCF_SUCCESS : OCF_ERR_GENERIC,
                error != NULL ? error->message : "", call->data);
}

static RaCall *call_new(AgentRaReplyFn reply, gpointer data)
{
    RaCall *call = g_new(RaCall, 1);
    *call = (RaCall){.reply = reply, .data = data};
    return call;
}

static gboolean departed_for_good(gpointer data)
{
    answer(NULL, NULL, data);
    return G_SOURCE_REMOVE;
}

static void departed(AgentVm *vm, const GError *error, gpointer data)
{
    if (error != NULL)
        answer(vm, error, data);
    else
        g_timeout_add(AGENT_ARRIVAL_MS, departed_for_good, data);
}

static void monitor(Agent *agent, const char *name, AgentRaReplyFn reply, gpointer data)
{
    AgentVm *vm = agent_vm_find(agent, name);
    if (vm != NULL && vm->state == AGENT_VM_RUNNING)
        vm->monitored_epoch = vm->record.epoch;
    bool here = vm != NULL && agent_vm_is_here(vm);
    if (!here && hv_filesystems_held(name)) // Pacemaker has to stop it here first
        reply(OCF_ERR_GENERIC, "its QEMU is gone, but its file system is still mounted here", data);
    else if (!here)
        reply(OCF_NOT_RUNNING, "", data);
    else if (vm->state == AGENT_VM_UNKNOWN && (vm->hv == NULL || !hv_vm_process_alive(vm->hv)))
        reply(OCF_ERR_GENERIC, "it is not known yet whether the VM runs", data);
    else if (vm->state == AGENT_VM_RUNNING && hv_vm_run_state(vm->hv) == HV_RUN_ERROR)
        reply(OCF_ERR_GENERIC, "its guest has panicked, or QEMU cannot run it any further", data);
    else
        reply(OCF_SUCCESS, "", data);
}

static void start(Agent *agent, const AgentRaRequest *request, HvDefinition *definition,
                  AgentRaReplyFn reply, gpointer data)
{
    agent_vm_start(agent_vm_ensure(agent, request->vm), definition, answer,
                   call_new(reply, data));
}

static void stop(Agent *agent, const AgentRaRequest *request, AgentRaReplyFn reply, gpointer data)
{
    AgentVm *vm = hv_filesystems_held(request->vm) ? agent_vm_ensure(agent, request->vm)
                                                   : agent_vm_find(agent, request->vm);
    if (vm == NULL) {
        reply(OCF_SUCCESS, "", data);
        return;
    }
    agent_migrate_settled(vm);
    agent_vm_stop(vm, request->timeout_ms, answer, call_new(reply, data));
}

static bool moved_already(Agent *agent, AgentVm *vm, const char *to)
{
    g_autofree char *owner = agent_status_owner_of(agent, vm->name);
    return vm->state == AGENT_VM_ABSENT && g_strcmp0(owner, to) == 0;
}

typedef struct {
    Agent *agent;
    char *vm, *peer;
    AgentRaReplyFn reply;
    gpointer data;
} LateMove;

static void migrate_to(Agent *agent, const AgentRaRequest *request, AgentRaReplyFn reply,
                       gpointer data);

static void load_over(AgentVm *vm, const GError *error, gpointer data)
{
    (void)vm;
    (void)error;
    g_autofree LateMove *late = data;
    AgentRaRequest request = {.op = "migrate_to", .vm = late->vm, .peer = late->peer};
    migrate_to(late->agent, &request, late->reply, late->data);
    g_free(late->vm);
    g_free(late->peer);
}

// Nothing can be saved before the last move's pages are all here.
static void move_after_load(AgentVm *vm, const char *peer, AgentRaReplyFn reply, gpointer data)
{
    LateMove *late = g_new(LateMove, 1);
    *late = (LateMove){vm->agent, g_strdup(vm->name), g_strdup(peer), reply, data};
    agent_load_hurry(vm, "migrate", NULL);
    agent_vm_wait(&vm->loads, load_over, late);
}

static void migrate_to(Agent *agent, const AgentRaRequest *request, AgentRaReplyFn reply,
                       gpointer data)
{
    g_autoptr(GError) error = NULL;
    AgentVm *vm = agent_vm_ensure(agent, request->vm);
    if (request->peer == NULL) {
        reply(OCF_ERR_CONFIGURED, "Pacemaker named no target", data);
        return;
    }
    if (moved_already(agent, vm, request->peer)) {
        reply(OCF_SUCCESS, "", data);
        return;
    }
    if (agent_load_pending(vm)) {
        move_after_load(vm, request->peer, reply, data);
        return;
    }
    if (vm->out == NULL && !agent_move_out_rehearse(vm, request->peer, NULL, &error)) {
        agent_load_end_job(vm, error);
        reply(OCF_ERR_GENERIC, error->message, data);
        return;
    }
    const char *peer = agent_move_out_peer(vm->out);
    if (g_strcmp0(peer, request->peer) != 0) {
        agent_move_out_cancel(vm->out, "Pacemaker chose another target");
        reply(OCF_ERR_GENERIC, "another save or move was under way; it is given up", data);
        return;
    }
    agent_vm_wait(&vm->departs, departed, call_new(reply, data));
    agent_move_out_go(vm->out);
}

static void arrived(AgentVm *vm, const GError *error, gpointer data)
{
    g_autoptr(GError) missing = NULL;
    if (error == NULL && vm->state != AGENT_VM_RUNNING)
        missing = g_error_new(AGENT_ERROR, AGENT_ERROR_FAILED, "%s does not run on %s", vm->name,
                              vm->agent->name);
    answer(vm, missing != NULL ? missing : error, data);
}

static void migrate_from(Agent *agent, const AgentRaRequest *request, AgentRaReplyFn reply,
                         gpointer data)
{
    AgentVm *vm = agent_vm_ensure(agent, request->vm);
    if (vm->in != NULL)
        agent_vm_wait(&vm->arrivals, arrived, call_new(reply, data));
    else
        arrived(vm, NULL, call_new(reply, data));
}

// What runs keeps its definition; what cannot be applied live is shown until the next start.
static void reload(Agent *agent, const AgentRaRequest *request, HvDefinition *definition,
                   AgentRaReplyFn reply, gpointer data)
{
    AgentVm *vm = agent_vm_find(agent, request->vm);
    g_autofree char *pending = vm != NULL && vm->state == AGENT_VM_RUNNING
                                   ? hv_definition_pending(vm->definition, definition)
                                   : NULL;
    if (pending != NULL)
        agent_events_add(agent->events, "info", "vm.pending", vm->name, NULL,
                         "the definition of %s changed; this waits for its next cold start: %s",
                         vm->name, pending);
    agent_status_changed(agent);
    reply(OCF_SUCCESS, "", data);
}

static void with_definition(Agent *agent, const AgentRaRequest *request, AgentRaReplyFn reply,
                            gpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition =
        hv_definition_parse(request->definition != NULL ? request->definition : "", &error);
    if (definition == NULL) {
        reply(OCF_ERR_CONFIGURED, error->message, data);
    } else if (strcmp(definition->name, request->vm) != 0) {
        g_autofree char *message =
            g_strdup_printf("the resource is \"%s\", but its definition's name is \"%s\"; they "
                            "have to be the same",
                            request->vm, definition->name);
        reply(OCF_ERR_CONFIGURED, message, data);
    } else if (strcmp(request->op, "start") == 0) {
        start(agent, request, definition, reply, data);
    } else if (strcmp(request->op, "reload-agent") == 0) {
        reload(agent, request, definition, reply, data);
    } else {
        reply(OCF_SUCCESS, "", data);
    }
}

void agent_service_ra(Agent *agent, const AgentRaRequest *request, AgentRaReplyFn reply,
                      gpointer data)
{
    if (strcmp(request->op, "monitor") == 0)
        monitor(agent, request->vm, reply, data);
    else if (strcmp(request->op, "stop") == 0)
        stop(agent, request, reply, data);
    else if (strcmp(request->op, "migrate_to") == 0)
        migrate_to(agent, request, reply, data);
    else if (strcmp(request->op, "migrate_from") == 0)
        migrate_from(agent, request, reply, data);
    else
        with_definition(agent, request, reply, data);
}
