// SPDX-License-Identifier: GPL-2.0-or-later
// Stopping a VM here: save, shutdown or power-off, each falling back to the next so that `stop` ends
// inside Pacemaker's timeout with a proof, and no node is fenced for a guest that does not listen.
#include "agent/vm.h"

#include "agent/load.h"
#include "agent/move_in.h"
#include "agent/move_out.h"
#include "agent/status.h"
#include "agent/vm_storage.h"

#include <string.h>

enum {
    LOOK_MS = 1000, // whether a save still fits
    SAVES = 5,      // tries of a save that fails within its share
    SAVE_AGAIN_MS = 1000,
};
enum { GIVE_BACK_AGAIN_MS = 1000 };

static unsigned left_ms(const AgentVm *vm, unsigned per_cent)
{
    gint64 end_us = vm->stop_begun_us + (gint64)vm->stop_timeout_ms * 10 * per_cent;
    gint64 left = (end_us - g_get_monotonic_time()) / 1000;
    return (unsigned)MAX(left, 0);
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

// --- the ways to stop ---

static void kill_qemu(AgentVm *vm)
{
    g_autoptr(GError) error = NULL;
    if (!hv_vm_kill(vm->hv, &error))
        agent_events_add(vm->agent->events, "error", "vm.kill-failed", vm->name, NULL,
                         "QEMU of %s could not be killed: %s", vm->name, error->message);
}

static void power_off(AgentVm *vm)
{
    vm->killing = true;
    agent_vm_set_state(vm, AGENT_VM_STOPPING);
    agent_events_add(vm->agent->events, "info", "vm.power-off", vm->name, NULL,
                     "%s is powered off", vm->name);
    kill_qemu(vm);
}

static void powerdown_taken(HvVm *hv, const GError *error, gpointer data)
{
    (void)hv;
    AgentVm *vm = data;
    if (error == NULL || vm->killing)
        return;
    agent_events_add(vm->agent->events, "warning", "vm.shutdown-failed", vm->name, NULL,
                     "%s cannot be asked to shut down: %s", vm->name, error->message);
    power_off(vm);
}

static void shut_down(AgentVm *vm)
{
    g_clear_handle_id(&vm->stop_timer, g_source_remove);
    agent_vm_set_state(vm, AGENT_VM_STOPPING);
    agent_events_add(vm->agent->events, "info", "vm.shutdown", vm->name, NULL,
                     "%s is asked to shut down, and powered off in %u s", vm->name,
                     left_ms(vm, AGENT_STOP_KILL_PERCENT) / 1000);
    hv_vm_powerdown(vm->hv, powerdown_taken, vm);
}

static void not_saved(AgentVm *vm)
{
    g_clear_handle_id(&vm->save_timer, g_source_remove);
    agent_events_add(vm->agent->events, "warning", "vm.save-failed", vm->name, NULL,
                     "%s could not be saved (%u tries); it is shut down, and starts cold next",
                     vm->name, vm->saves);
    shut_down(vm);
}

static void give_up_save(AgentVm *vm, unsigned least_ms)
{
    if (vm->state == AGENT_VM_RUNNING && vm->save_timer != 0) {
        not_saved(vm);
    } else if (vm->out != NULL) {
        g_autofree char *forecast =
            least_ms == 0 ? NULL
                          : g_strdup_printf(" (it takes %u s more at least, and has %u s)",
                                            least_ms / 1000,
                                            left_ms(vm, AGENT_STOP_SAVE_PERCENT) / 1000);
        agent_events_add(vm->agent->events, "warning", "vm.save-too-slow", vm->name, NULL,
                         "saving %s does not fit into Pacemaker's stop timeout%s; it is shut down",
                         vm->name, forecast != NULL ? forecast : "");
        agent_move_out_cancel(vm->out, "the save does not fit into the stop timeout");
    } else if (vm->state == AGENT_VM_RUNNING) {
        agent_events_add(vm->agent->events, "warning", "vm.load-too-slow", vm->name, NULL,
                         "%s is still being loaded and cannot be saved in time; it is shut down",
                         vm->name);
        shut_down(vm);
    }
}

static gboolean look_at_save(gpointer data)
{
    AgentVm *vm = data;
    unsigned left = left_ms(vm, AGENT_STOP_SAVE_PERCENT);
    unsigned least = vm->out != NULL ? agent_move_out_least_ms(vm->out) : 0;
    if (left > 0 && least <= left)
        return G_SOURCE_CONTINUE;
    vm->stop_timer = 0;
    give_up_save(vm, least);
    return G_SOURCE_REMOVE;
}

// The wait for a load, too, is in what a save may take.
static void watch_save(AgentVm *vm)
{
    if (vm->stop_timer == 0)
        vm->stop_timer = g_timeout_add(LOOK_MS, look_at_save, vm);
}

static void save_failed(AgentVm *vm);

static void save(AgentVm *vm)
{
    g_autoptr(GError) error = NULL;
    vm->saves++;
    watch_save(vm);
    if (left_ms(vm, AGENT_STOP_SAVE_PERCENT) > 0 && agent_move_out_save(vm, &error))
        return;
    if (error != NULL)
        g_warning("VM %s: %s", vm->name, error->message);
    save_failed(vm);
}

static gboolean save_again(gpointer data)
{
    AgentVm *vm = data;
    vm->save_timer = 0;
    if (vm->state == AGENT_VM_RUNNING) // else its change of state went on with the stop
        save(vm);
    return G_SOURCE_REMOVE;
}

// A saver that was killed, or storage that answers again soon, costs a second and not the memory.
static void save_failed(AgentVm *vm)
{
    if (vm->stop_timer == 0) // it was too slow, which is told
        shut_down(vm);
    else if (vm->saves == SAVES || left_ms(vm, AGENT_STOP_SAVE_PERCENT) == 0)
        not_saved(vm);
    else if (vm->save_timer == 0)
        vm->save_timer = g_timeout_add(SAVE_AGAIN_MS, save_again, vm);
}

static void begin_save(AgentVm *vm)
{
    if (vm->saves > 0) {
        save_failed(vm);
    } else if (agent_load_pending(vm)) {
        agent_load_hurry(vm, "save", NULL);
        watch_save(vm); // the end of the load comes back here
    } else {
        save(vm);
    }
}

// --- the end ---

static void answer(AgentVm *vm, const GError *error)
{
    g_clear_handle_id(&vm->stop_timer, g_source_remove);
    g_clear_handle_id(&vm->stop_end_timer, g_source_remove);
    g_clear_pointer(&vm->stop_mode, g_free);
    g_clear_handle_id(&vm->save_timer, g_source_remove);
    g_clear_handle_id(&vm->give_back_timer, g_source_remove);
    vm->saves = 0;
    vm->killing = false;
    agent_vm_wake(vm, &vm->stops, error);
}

static GError *why_not_stopped(const AgentVm *vm)
{
    if (vm->hv != NULL && hv_vm_process_alive(vm->hv))
        return g_error_new(AGENT_ERROR, AGENT_ERROR_TIMEOUT,
                           "QEMU of %s (pid %d) was killed, but has not ended; does its storage "
                           "hang?",
                           vm->name, (int)hv_vm_pid(vm->hv));
    if (vm->writes > 0)
        return g_error_new(AGENT_ERROR, AGENT_ERROR_TIMEOUT,
                           "the state area of %s (%s) does not answer, and what is being written "
                           "to its run record may still come about",
                           vm->name, vm->definition->state_area);
    if (vm->mounts > 0 || vm->giving_back)
        return g_error_new(AGENT_ERROR, AGENT_ERROR_TIMEOUT,
                           "a file system of %s is just being %s, which has not come back; does its "
                           "storage hang?",
                           vm->name, vm->mounts > 0 ? "mounted" : "unmounted");
    return NULL;
}

static gboolean out_of_time(gpointer data)
{
    AgentVm *vm = data;
    vm->stop_end_timer = 0;
    g_autoptr(GError) error = why_not_stopped(vm);
    if (error != NULL)
        agent_events_add(vm->agent->events, "error", "vm.stop-failed", vm->name, NULL,
                         "%s is not proven stopped on %s: %s", vm->name, vm->agent->name,
                         error->message);
    else
        vm->start_void = true; // only reads are under way: nothing will come of them
    answer(vm, error);
    return G_SOURCE_REMOVE;
}

// Whatever the VM waits for: a guest, QEMU's monitor, storage, the other node.
static gboolean last_resort(gpointer data)
{
    AgentVm *vm = data;
    vm->stop_end_timer = g_timeout_add(left_ms(vm, 100), out_of_time, vm);
    if (vm->hv == NULL || !hv_vm_process_alive(vm->hv) || vm->killing)
        return G_SOURCE_REMOVE;
    agent_events_add(vm->agent->events, "warning", "vm.stop-forced", vm->name, NULL,
                     "%s has not stopped in time (it is %s); its QEMU is killed", vm->name,
                     agent_vm_state_name(vm->state));
    if (vm->state == AGENT_VM_RUNNING)
        agent_vm_set_state(vm, AGENT_VM_STOPPING);
    vm->killing = true;
    kill_qemu(vm);
    return G_SOURCE_REMOVE;
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
    g_clear_handle_id(&vm->stop_timer, g_source_remove); // there is nothing left to save
    g_clear_handle_id(&vm->save_timer, g_source_remove);
    agent_vm_detach(vm);
    FerryRecord next = vm->record;
    if (strcmp(next.owner, vm->agent->name) == 0 &&
        ferry_record_advance(&next, FERRY_OFF, false, vm->agent->name, NULL))
        agent_record_write(vm, &next, vm->record.sequence, off_written, NULL);
    else
        agent_vm_set_state(vm, AGENT_VM_ABSENT);
}

// Its storage goes last, and before another node may have it.
static void finish(AgentVm *vm);

static gboolean finish_again(gpointer data)
{
    AgentVm *vm = data;
    vm->give_back_timer = 0;
    finish(vm);
    return G_SOURCE_REMOVE;
}

// What uses it may be a backup that ends in a moment; a stop that fails has the whole node fenced.
static void given_back(AgentVm *vm, const GError *error, gpointer data)
{
    (void)data;
    if (error != NULL && !g_queue_is_empty(&vm->stops) &&
        left_ms(vm, AGENT_STOP_KILL_PERCENT) > GIVE_BACK_AGAIN_MS) {
        g_message("VM %s: %s; trying again", vm->name, error->message);
        vm->give_back_timer = g_timeout_add(GIVE_BACK_AGAIN_MS, finish_again, vm);
        return;
    }
    if (error != NULL)
        agent_events_add(vm->agent->events, "error", "vm.stop-failed", vm->name, NULL,
                         "%s is not stopped on %s: %s", vm->name, vm->agent->name, error->message);
    answer(vm, error);
}

static void finish(AgentVm *vm)
{
    if (!agent_vm_holds_storage(vm))
        answer(vm, NULL);
    else if (!vm->giving_back && vm->give_back_timer == 0)
        agent_vm_give_back(vm, given_back);
}

// --- the decision ---

static void begin(AgentVm *vm)
{
    // The memory of a guest that cannot go on is not worth to be kept: a restore would bring it
    // back as it is.
    const char *mode = hv_vm_run_state(vm->hv) == HV_RUN_ERROR ? "poweroff" : mode_of(vm);
    if (strcmp(mode, "save") == 0)
        begin_save(vm);
    else if (strcmp(mode, "poweroff") == 0)
        power_off(vm);
    else
        shut_down(vm);
}

void agent_vm_stop_step(AgentVm *vm)
{
    if (g_queue_is_empty(&vm->stops))
        return;
    switch (vm->state) {
    case AGENT_VM_ABSENT:
        finish(vm);
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
    case AGENT_VM_STARTING: // a restore leaves the image as it is; a cold start looks by itself
    case AGENT_VM_INCOMING:
        if (vm->in != NULL)
            agent_move_in_cancel(vm->in, "stop was asked for");
        break;
    default: // its end comes back here
        break;
    }
}

void agent_vm_stop(AgentVm *vm, unsigned timeout_ms, AgentVmDone done, gpointer data)
{
    if (vm->state == AGENT_VM_ABSENT && !agent_vm_holds_storage(vm)) {
        g_clear_pointer(&vm->stop_mode, g_free);
        done(vm, NULL, data);
        return;
    }
    if (g_queue_is_empty(&vm->stops)) {
        vm->stop_begun_us = g_get_monotonic_time();
        vm->stop_timeout_ms = timeout_ms;
        vm->stop_end_timer =
            g_timeout_add(left_ms(vm, AGENT_STOP_KILL_PERCENT), last_resort, vm);
    }
    agent_vm_wait(&vm->stops, done, data);
    agent_vm_stop_step(vm);
}
