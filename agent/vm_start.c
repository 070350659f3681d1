// SPDX-License-Identifier: GPL-2.0-or-later
// Starting a VM here: from its sealed image where there is one, cold otherwise.
#include "agent/vm.h"

#include "agent/move_in.h"
#include "agent/status.h"
#include "agent/vm_storage.h"
#include "agent/witness.h"

static void started(AgentVm *vm, const char *how)
{
    g_clear_pointer(&vm->last_error, g_free);
    g_clear_pointer(&vm->stop_mode, g_free);
    agent_events_add(vm->agent->events, "info", "vm.started", vm->name,
                     json_pack("{s:s, s:I}", "mode", how, "epoch", (json_int_t)vm->record.epoch),
                     "%s runs on %s (%s, epoch %" G_GUINT64_FORMAT ")", vm->name,
                     vm->agent->name, how, vm->record.epoch);
    agent_vm_set_state(vm, AGENT_VM_RUNNING);
    agent_vm_wake(vm, &vm->starts, NULL);
}

static void start_failed(AgentVm *vm, const GError *error)
{
    g_free(vm->last_error);
    vm->last_error = g_utf8_make_valid(error->message, -1);
    vm->last_error_ms = g_get_real_time() / 1000;
    agent_events_add(vm->agent->events, "error", "vm.start-failed", vm->name, NULL,
                     "%s did not start on %s: %s", vm->name, vm->agent->name, error->message);
    agent_vm_detach(vm);
    agent_vm_set_state(vm, AGENT_VM_ABSENT);
    agent_vm_wake(vm, &vm->starts, error);
}

void agent_vm_start_restored(AgentVm *vm, const GError *error)
{
    if (error != NULL)
        start_failed(vm, error);
    else
        started(vm, "restored");
}

// Storage may have kept a start waiting for long: Pacemaker may have given it up and started the VM
// elsewhere.
static GError *overtaken(const AgentVm *vm)
{
    g_autofree char *elsewhere = agent_status_node_of(vm->agent, vm->name);
    if (vm->start_void || !g_queue_is_empty((GQueue *)&vm->stops))
        return g_error_new(AGENT_ERROR, AGENT_ERROR_CONFLICT,
                           "%s: a stop was asked for during its start", vm->name);
    if (elsewhere != NULL)
        return g_error_new(AGENT_ERROR, AGENT_ERROR_CONFLICT,
                           "%s has a QEMU on %s; it is not started twice", vm->name, elsewhere);
    if (!agent_cluster_quorate(vm->agent->cluster))
        return g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                           "%s has no quorum and must not start a VM", vm->agent->name);
    return NULL;
}

// --- cold ---

// No "not running" without proof: the failure is told once QEMU is gone.
static void abandon(AgentVm *vm, const GError *error)
{
    g_autoptr(GError) copy = g_error_copy(error);
    if (!hv_vm_process_alive(vm->hv)) {
        start_failed(vm, copy);
        return;
    }
    vm->start_error = g_steal_pointer(&copy);
    hv_vm_kill(vm->hv, NULL);
}

void agent_vm_start_exited(AgentVm *vm)
{
    g_autoptr(GError) error = g_steal_pointer(&vm->start_error);
    if (error != NULL)
        start_failed(vm, error);
}

static void continued(HvVm *hv, const GError *error, gpointer data)
{
    (void)hv;
    AgentVm *vm = data;
    if (error != NULL)
        abandon(vm, error);
    else
        started(vm, "cold");
}

static void claimed(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)record;
    (void)data;
    g_autoptr(GError) refused = error == NULL ? overtaken(vm) : NULL;
    if (error != NULL || refused != NULL)
        abandon(vm, error != NULL ? error : refused);
    else
        hv_vm_cont(vm->hv, continued, vm);
}

static void launched(HvVm *hv, const GError *error, gpointer data)
{
    (void)hv;
    AgentVm *vm = data;
    if (error != NULL) {
        abandon(vm, error);
        return;
    }
    g_autoptr(GError) refused = overtaken(vm);
    FerryRecord next = vm->record;
    if (refused != NULL || !ferry_record_advance(&next, FERRY_RUNNING, true, vm->agent->name, &refused)) {
        abandon(vm, refused);
        return;
    }
    g_autofree char *digest = hv_definition_digest(vm->definition);
    g_strlcpy(next.machine, vm->definition->machine, sizeof(next.machine));
    g_strlcpy(next.qemu_version, vm->agent->node->qemu_version, sizeof(next.qemu_version));
    g_strlcpy(next.accelerator, vm->agent->node->accelerator, sizeof(next.accelerator));
    g_strlcpy(next.definition_digest, digest, sizeof(next.definition_digest));
    agent_record_write(vm, &next, vm->record.sequence, claimed, NULL);
}

// --- which of both ---

// How long VM's guest had run when its owner was lost: since the commit, which was the record's
// last write. Where nobody saw the owner leave, until now at most.
static double seconds_of_load(const AgentVm *vm, const FerryRecord *record)
{
    const gint64 *left_ms = g_hash_table_lookup(vm->agent->lost, record->owner);
    bool seen = left_ms != NULL && *left_ms >= record->written_at_ms;
    gint64 end_ms = seen ? *left_ms : g_get_real_time() / 1000;
    return (double)MAX(end_ms - record->written_at_ms, 0) / 1000;
}

// The image was resumed once and is never loaded again.
static void say_it_was_loading(AgentVm *vm, const FerryRecord *record)
{
    double seconds = seconds_of_load(vm, record);
    agent_events_add(vm->agent->events, "warning", "vm.cold-after-loss", vm->name,
                     json_pack("{s:f, s:s}", "loading_s", seconds, "lost", record->owner),
                     "%s ran on %s and was still being loaded when it was lost, %.1f s after it "
                     "began to run there (epoch %" G_GUINT64_FORMAT "); it starts cold",
                     vm->name, record->owner, seconds, record->epoch);
}

static void say_if_memory_is_lost(AgentVm *vm, const FerryRecord *record)
{
    if (record->state != FERRY_RUNNING && record->state != FERRY_SAVING &&
        record->state != FERRY_CONSUMED)
        return;
    if (record->state == FERRY_CONSUMED) {
        say_it_was_loading(vm, record);
        return;
    }
    agent_events_add(vm->agent->events, "warning", "vm.cold-after-loss", vm->name, NULL,
                     "%s was %s on %s when it was lost (epoch %" G_GUINT64_FORMAT
                     "); it starts cold",
                     vm->name, ferry_state_name(record->state), record->owner, record->epoch);
}

static void mounted(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)data;
    g_autoptr(GError) refused = error == NULL ? overtaken(vm) : NULL;
    if (error != NULL || refused != NULL) {
        start_failed(vm, error != NULL ? error : refused);
    } else if (record->state == FERRY_SEALED) {
        agent_move_in_restore(vm, record);
    } else {
        agent_vm_attach(vm, vm->definition);
        hv_vm_launch(vm->hv, HV_LAUNCH_COLD, record->epoch + 1, launched, vm);
    }
}

static void record_known(AgentVm *vm, const FerryRecord *record, const GError *error,
                         gpointer data)
{
    (void)data;
    g_autoptr(GError) refused = error == NULL ? overtaken(vm) : NULL;
    if (error == NULL && refused == NULL)
        (void)agent_witness_allows(vm, record, &refused);
    if (error != NULL || refused != NULL) {
        start_failed(vm, error != NULL ? error : refused);
    } else if (record->state == FERRY_QUARANTINED) {
        refused = g_error_new(AGENT_ERROR, AGENT_ERROR_REFUSED,
                              "the saved memory of %s in %s failed to load and is quarantined; "
                              "look at the storage, then `vmferry discard %s` lets it start cold",
                              vm->name, vm->definition->state_area, vm->name);
        start_failed(vm, refused);
    } else if (record->state == FERRY_SEALED) {
        hv_definition_unref(vm->definition);
        vm->definition = g_steal_pointer(&vm->saved_definition);
        agent_vm_mount(vm, record, mounted);
    } else {
        say_if_memory_is_lost(vm, record);
        agent_vm_mount(vm, record, mounted);
    }
}

static bool may_start(AgentVm *vm, GError **error)
{
    GError *refused = overtaken(vm);
    if (refused != NULL) {
        g_propagate_error(error, refused);
        return false;
    }
    if (vm->state != AGENT_VM_ABSENT) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT, "%s is %s on %s", vm->name,
                    agent_vm_state_name(vm->state), vm->agent->name);
        return false;
    }
    return true;
}

void agent_vm_start(AgentVm *vm, HvDefinition *definition, AgentVmDone done, gpointer data)
{
    g_autoptr(GError) error = NULL;
    if (vm->state == AGENT_VM_RUNNING ||
        (vm->state == AGENT_VM_LEAVING && agent_vm_is_here(vm))) {
        done(vm, NULL, data);
        return;
    }
    if (vm->state == AGENT_VM_STARTING) {
        agent_vm_wait(&vm->starts, done, data);
        return;
    }
    if (vm->state == AGENT_VM_ABSENT)
        vm->start_void = false;
    if (!may_start(vm, &error)) {
        done(vm, error, data);
        return;
    }
    if (vm->definition != NULL)
        hv_definition_unref(vm->definition);
    vm->definition = hv_definition_ref(definition);
    agent_vm_set_state(vm, AGENT_VM_STARTING);
    agent_vm_wait(&vm->starts, done, data);
    agent_record_check(vm, record_known, NULL);
}
