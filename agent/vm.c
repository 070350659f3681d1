// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/vm.h"

#include "agent/disk_wait.h"
#include "agent/guest_time.h"
#include "agent/load.h"
#include "agent/move_in.h"
#include "agent/move_out.h"
#include "agent/quarantine.h"
#include "agent/status.h"
#include "agent/stay.h"

#include <sys/wait.h>

enum { RECONNECT_MS = 1000 };

typedef struct {
    AgentVmDone done;
    gpointer data;
} Waiter;

const char *agent_vm_state_name(AgentVmState state)
{
    switch (state) {
    case AGENT_VM_UNKNOWN:
        return "unknown";
    case AGENT_VM_ABSENT:
        return "stopped";
    case AGENT_VM_STARTING:
        return "starting";
    case AGENT_VM_RUNNING:
        return "running";
    case AGENT_VM_LEAVING:
        return "migrating";
    case AGENT_VM_INCOMING:
        return "incoming";
    case AGENT_VM_STRANDED:
        return "stranded";
    case AGENT_VM_STOPPING:
        return "stopping";
    }
    return "?";
}

AgentVm *agent_vm_find(Agent *agent, const char *name)
{
    return g_hash_table_lookup(agent->vms, name);
}

AgentVm *agent_vm_ensure(Agent *agent, const char *name)
{
    AgentVm *vm = agent_vm_find(agent, name);
    if (vm == NULL) {
        vm = g_new0(AgentVm, 1);
        vm->agent = agent;
        vm->name = g_strdup(name);
        vm->state = AGENT_VM_ABSENT;
        g_hash_table_insert(agent->vms, vm->name, vm);
    }
    return vm;
}

void agent_vm_free(AgentVm *vm)
{
    g_clear_handle_id(&vm->stop_timer, g_source_remove);
    g_clear_handle_id(&vm->stop_end_timer, g_source_remove);
    g_clear_handle_id(&vm->save_timer, g_source_remove);
    g_clear_handle_id(&vm->retry_timer, g_source_remove);
    g_clear_handle_id(&vm->give_back_timer, g_source_remove);
    agent_move_out_free(vm->out);
    agent_move_in_free(vm->in);
    agent_load_free(vm->load);
    agent_stay_free(vm->stay);
    agent_quarantine_free(vm->quarantine);
    agent_guest_time_end(vm);
    hv_vm_free(vm->hv);
    if (vm->definition != NULL)
        hv_definition_unref(vm->definition);
    g_queue_clear_full(&vm->starts, g_free);
    g_queue_clear_full(&vm->stops, g_free);
    g_queue_clear_full(&vm->departs, g_free);
    g_queue_clear_full(&vm->arrivals, g_free);
    g_queue_clear_full(&vm->loads, g_free);
    json_decref(vm->last_move);
    g_clear_error(&vm->start_error);
    g_free(vm->stop_mode);
    g_clear_pointer(&vm->saved_definition, hv_definition_unref);
    g_free(vm->last_error);
    g_free(vm->name);
    g_free(vm);
}

void agent_vm_wait(GQueue *queue, AgentVmDone done, gpointer data)
{
    Waiter *waiter = g_new(Waiter, 1);
    *waiter = (Waiter){.done = done, .data = data};
    g_queue_push_tail(queue, waiter);
}

void agent_vm_wake(AgentVm *vm, GQueue *queue, const GError *error)
{
    GQueue now = *queue; // a waiter may wait again
    g_queue_init(queue);
    Waiter *waiter;
    while ((waiter = g_queue_pop_head(&now)) != NULL) {
        waiter->done(vm, error, waiter->data);
        g_free(waiter);
    }
}

HvDefinition *agent_vm_wanted(const AgentVm *vm)
{
    HvDefinition *wanted = agent_status_definition(vm->agent, vm->name);
    return wanted != NULL ? wanted : hv_definition_ref(vm->definition);
}

bool agent_vm_is_here(const AgentVm *vm)
{
    if (vm->state == AGENT_VM_INCOMING)
        return agent_move_in_committed(vm->in);
    if (vm->state == AGENT_VM_LEAVING)
        return hv_vm_process_alive(vm->hv);
    return vm->state != AGENT_VM_ABSENT;
}

// A save or move that waited for a load takes its job before the state changes.
static void end_waiting_job(AgentVm *vm)
{
    g_autoptr(GError) error = g_error_new(
        AGENT_ERROR, AGENT_ERROR_FAILED, "%s is %s on %s before all of its memory was there",
        vm->name, agent_vm_state_name(vm->state), vm->agent->name);
    if (vm->state != AGENT_VM_RUNNING)
        agent_load_end_job(vm, error);
}

void agent_vm_set_state(AgentVm *vm, AgentVmState state)
{
    if (vm->state == state)
        return;
    g_info("VM %s: %s -> %s", vm->name, agent_vm_state_name(vm->state), agent_vm_state_name(state));
    vm->state = state;
    agent_guest_time_end(vm);
    agent_status_changed(vm->agent);
    end_waiting_job(vm);
    if (state == AGENT_VM_ABSENT) {
        agent_status_tell(vm->agent); // Pacemaker may start it elsewhere as soon as it is told
        agent_vm_wake(vm, &vm->loads, NULL);
    }
    if (state == AGENT_VM_ABSENT || state == AGENT_VM_RUNNING || state == AGENT_VM_STRANDED)
        agent_vm_stop_step(vm);
    agent_disk_wait_look(vm);
}

// --- QEMU's callbacks ---

static char *how_it_ended(int status)
{
    if (status < 0)
        return g_strdup("how is not known: an earlier vmferryd started it");
    return WIFSIGNALED(status)
               ? g_strdup_printf("signal %d, %s", WTERMSIG(status), g_strsignal(WTERMSIG(status)))
               : g_strdup_printf("exit code %d", WEXITSTATUS(status));
}

static void died_by_itself(AgentVm *vm, const char *how)
{
    agent_events_add(vm->agent->events, "error", "vm.died", vm->name, NULL,
                     "QEMU of %s ended unexpectedly (%s); Pacemaker is told at once", vm->name,
                     how);
    agent_vm_detach(vm);
    agent_vm_set_state(vm, AGENT_VM_ABSENT);
    agent_pacemaker_fail(vm->agent->pacemaker, vm->name, vm->agent->name, NULL, NULL);
}

static void qemu_exited(HvVm *hv, int status, gpointer data)
{
    AgentVm *vm = data;
    g_autofree char *how = how_it_ended(status);
    (void)hv;
    g_message("%s: QEMU has ended: %s", vm->name, how);
    if (vm->out != NULL)
        agent_move_out_qemu_exited(vm->out);
    else if (vm->in != NULL)
        agent_move_in_qemu_exited(vm->in);
    else if (vm->quarantine != NULL)
        agent_quarantine_qemu_exited(vm);
    else if (vm->state == AGENT_VM_STOPPING)
        agent_vm_stop_exited(vm);
    else if (vm->state == AGENT_VM_STARTING)
        agent_vm_start_exited(vm);
    else if (vm->state == AGENT_VM_UNKNOWN)
        agent_vm_leftover_exited(vm);
    else
        died_by_itself(vm, how);
}

static gboolean reconnect(gpointer data);

static void reconnected(HvVm *hv, const GError *error, gpointer data)
{
    AgentVm *vm = data;
    if (error != NULL && hv_vm_process_alive(hv) && vm->retry_timer == 0)
        vm->retry_timer = g_timeout_add(RECONNECT_MS, reconnect, vm);
}

// The monitor's connection ended, but QEMU lives.
static gboolean reconnect(gpointer data)
{
    AgentVm *vm = data;
    vm->retry_timer = 0;
    if (vm->hv != NULL && vm->state != AGENT_VM_UNKNOWN && hv_vm_process_alive(vm->hv) &&
        hv_vm_run_state(vm->hv) == HV_RUN_UNKNOWN)
        hv_vm_adopt(vm->hv, reconnected, vm);
    return G_SOURCE_REMOVE;
}

static void qemu_run_state(HvVm *hv, HvRunState state, gpointer data)
{
    (void)hv;
    AgentVm *vm = data;
    if (vm->out != NULL)
        agent_move_out_run_state(vm->out, state);
    else if (vm->in != NULL)
        agent_move_in_run_state(vm->in, state);
    if (state == HV_RUN_UNKNOWN && hv_vm_process_alive(vm->hv) && vm->retry_timer == 0)
        vm->retry_timer = g_timeout_add(RECONNECT_MS, reconnect, vm);
    if (state == HV_RUN_ERROR && vm->state == AGENT_VM_RUNNING)
        agent_events_add(
            vm->agent->events, "error", "vm.error", vm->name, NULL,
            "QEMU has paused %s: its guest has panicked, or cannot be run any further; "
            "Pacemaker's next monitor fails",
            vm->name);
    agent_disk_wait_look(vm);
}

static void qemu_migration(HvVm *hv, HvMigrationStatus status, gpointer data)
{
    (void)hv;
    AgentVm *vm = data;
    if (vm->load != NULL)
        agent_load_migration(vm, status);
    if (vm->out != NULL)
        agent_move_out_migration(vm->out, status);
    else if (vm->in != NULL)
        agent_move_in_migration(vm->in, status);
}

static void guest_shutdown(HvVm *hv, const char *reason, gpointer data)
{
    AgentVm *vm = data;
    bool reset = g_str_has_suffix(reason, "-reset");
    agent_events_add(vm->agent->events, "info", reset ? "vm.guest-reset" : "vm.guest-shutdown",
                     vm->name, NULL, "%s %s (%s)", vm->name,
                     reset ? "rebooted" : "powered itself off", reason);
    if (reset)
        return;
    if (vm->state == AGENT_VM_RUNNING || vm->state == AGENT_VM_STOPPING)
        hv_vm_quit(hv, NULL, NULL);
}

static const HvVmEvents qemu_events = {
    .exited = qemu_exited,
    .run_state = qemu_run_state,
    .migration = qemu_migration,
    .guest_shutdown = guest_shutdown,
};

void agent_vm_attach(AgentVm *vm, const HvDefinition *definition)
{
    agent_vm_detach(vm);
    HvDefinition *taken = hv_definition_ref(definition);
    if (vm->definition != NULL)
        hv_definition_unref(vm->definition);
    vm->definition = taken;
    vm->hv = hv_vm_new(taken, vm->agent->node, vm->agent->config->run_dir, &qemu_events, vm);
}

void agent_vm_detach(AgentVm *vm)
{
    agent_disk_wait_end(vm);
    agent_guest_time_end(vm);
    g_clear_pointer(&vm->load, agent_load_free);
    g_clear_pointer(&vm->hv, hv_vm_free);
}
