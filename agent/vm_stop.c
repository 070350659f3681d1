// SPDX-License-Identifier: GPL-2.0-or-later
// Stopping a VM here: save, shutdown or power-off, each falling back to the next so that `stop` ends
// inside Pacemaker's timeout with a proof, and no node is fenced for a guest that does not listen.
#include "agent/vm.h"

#include "agent/load.h"
#include "agent/move_in.h"
#include "agent/move_out.h"
#include "agent/status.h"

#include <string.h>

enum {
    SAVE_SHARE = 60,     // per cent of the timeout that saving may take
    SAVE_TRIES = 3,      // within that
    SHUTDOWN_SHARE = 30, // and the guest's own shutdown
};

static gboolean out_of_patience(gpointer data);

static void arm(AgentVm *vm, unsigned ms)
{
    g_clear_handle_id(&vm->stop_timer, g_source_remove);
    vm->stop_timer = g_timeout_add(ms, out_of_patience, vm);
}

static unsigned share(AgentVm *vm, unsigned per_cent)
{
    return vm->stop_timeout_ms / 100 * per_cent;
}

static const char *mode_of(const AgentVm *vm)
{
    if (vm->stop_mode != NULL)
        return vm->stop_mode;
    g_autoptr(HvDefinition) wanted = agent_vm_wanted(vm);
    switch (wanted->on_stop) {
    case HV_ON_STOP_SAVE:
        return "save";
    case HV_ON_STOP_SHUTDOWN:
        return "shutdown";
    default:
        return "poweroff";
    }
}

static void power_off(AgentVm *vm)
{
    g_autoptr(GError) error = NULL;
    vm->killing = true;
    agent_vm_set_state(vm, AGENT_VM_STOPPING);
    if (!hv_vm_kill(vm->hv, &error))
        agent_events_add(vm->agent->events, "error", "vm.kill-failed", vm->name, NULL,
                         "QEMU of %s could not be killed: %s", vm->name, error->message);
}

static void powerdown_taken(HvVm *hv, const GError *error, gpointer data)
{
    (void)hv;
    if (error != NULL)
        power_off(data);
}

static void shut_down(AgentVm *vm)
{
    agent_vm_set_state(vm, AGENT_VM_STOPPING);
    arm(vm, share(vm, SHUTDOWN_SHARE));
    hv_vm_powerdown(vm->hv, powerdown_taken, vm);
}

static void save(AgentVm *vm)
{
    g_autoptr(GError) error = NULL;
    if (agent_move_out_save(vm, &error)) {
        if (vm->stop_timer == 0) // else it runs since the wait for the load: both share it
            arm(vm, share(vm, SAVE_SHARE));
        return;
    }
    agent_events_add(vm->agent->events, "warning", "vm.save-failed", vm->name, NULL,
                     "%s cannot be saved: %s; it is shut down", vm->name, error->message);
    shut_down(vm);
}

static gboolean out_of_patience(gpointer data)
{
    AgentVm *vm = data;
    vm->stop_timer = 0;
    if (vm->out != NULL) {
        agent_events_add(vm->agent->events, "warning", "vm.save-too-slow", vm->name, NULL,
                         "saving %s does not fit into Pacemaker's stop timeout; it is shut down",
                         vm->name);
        agent_move_out_cancel(vm->out, "the save does not fit into the stop timeout");
    } else if (vm->state == AGENT_VM_RUNNING) {
        agent_events_add(vm->agent->events, "warning", "vm.load-too-slow", vm->name, NULL,
                         "%s is still being loaded and cannot be saved in time; it is shut down",
                         vm->name);
        shut_down(vm);
    } else if (vm->state == AGENT_VM_STOPPING && !vm->killing) {
        agent_events_add(vm->agent->events, "warning", "vm.shutdown-ignored", vm->name, NULL,
                         "%s did not shut down in time; it is powered off", vm->name);
        power_off(vm);
    }
    return G_SOURCE_REMOVE;
}

// --- the end ---

static void stopped(AgentVm *vm)
{
    g_clear_handle_id(&vm->stop_timer, g_source_remove);
    g_clear_pointer(&vm->stop_mode, g_free);
    vm->killing = false;
    vm->saves = 0;
    agent_vm_wake(vm, &vm->stops, NULL);
}

static void off_written(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)record;
    (void)data;
    if (error != NULL) // RUNNING of a dead owner means the same to the next start: cold
        g_warning("VM %s: the record could not be set to off: %s", vm->name, error->message);
    agent_events_add(vm->agent->events, "info", "vm.stopped", vm->name, NULL, "%s is off",
                     vm->name);
    agent_vm_set_state(vm, AGENT_VM_ABSENT);
}

void agent_vm_stop_exited(AgentVm *vm)
{
    g_clear_handle_id(&vm->stop_timer, g_source_remove); // there is nothing left to kill
    agent_vm_detach(vm);
    FerryRecord next = vm->record;
    if (strcmp(next.owner, vm->agent->name) == 0 &&
        ferry_record_advance(&next, FERRY_OFF, false, vm->agent->name, NULL))
        agent_record_write(vm, &next, vm->record.sequence, off_written, NULL);
    else
        agent_vm_set_state(vm, AGENT_VM_ABSENT);
}

// --- the decision ---

// A saver that was killed or a write that failed once does not cost the guest its memory.
static bool may_save(const AgentVm *vm)
{
    bool in_time = vm->saves == 0 || vm->stop_timer != 0;
    return in_time && vm->saves < SAVE_TRIES && strcmp(mode_of(vm), "save") == 0;
}

static void begin(AgentVm *vm)
{
    if (may_save(vm) && agent_load_pending(vm)) {
        agent_load_hurry(vm, "save", NULL);
        if (vm->stop_timer == 0)
            arm(vm, share(vm, SAVE_SHARE)); // the end of the load comes back here
    } else if (may_save(vm)) {
        vm->saves++;
        save(vm);
    } else if (strcmp(mode_of(vm), "poweroff") == 0) {
        power_off(vm);
    } else {
        shut_down(vm);
    }
}

void agent_vm_stop_step(AgentVm *vm)
{
    if (g_queue_is_empty(&vm->stops))
        return;
    switch (vm->state) {
    case AGENT_VM_ABSENT:
        stopped(vm);
        break;
    case AGENT_VM_RUNNING:
        begin(vm);
        break;
    case AGENT_VM_STRANDED: // the image is sealed; only the process has to go
        agent_vm_set_state(vm, AGENT_VM_STOPPING);
        hv_vm_kill(vm->hv, NULL);
        break;
    case AGENT_VM_LEAVING:
        if (agent_move_out_peer(vm->out) != NULL)
            agent_move_out_cancel(vm->out, "stop was asked for");
        break;
    case AGENT_VM_INCOMING:
        agent_move_in_cancel(vm->in, "stop was asked for");
        break;
    default: // its end comes back here
        break;
    }
}

void agent_vm_stop(AgentVm *vm, unsigned timeout_ms, AgentVmDone done, gpointer data)
{
    if (vm->state == AGENT_VM_ABSENT) {
        g_clear_pointer(&vm->stop_mode, g_free);
        done(vm, NULL, data);
        return;
    }
    vm->stop_timeout_ms = timeout_ms;
    agent_vm_wait(&vm->stops, done, data);
    agent_vm_stop_step(vm);
}
