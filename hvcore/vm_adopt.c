// SPDX-License-Identifier: GPL-2.0-or-later
// Finding a running QEMU again after a restart of the agent.
#include "hvcore/fs.h"
#include "hvcore/process.h"
#include "hvcore/vm_private.h"

#include <string.h>

static GError *unknown(const HvVm *vm, const char *why)
{
    return g_error_new(HV_ERROR, HV_ERROR_UNKNOWN, "%s: QEMU (pid %d) is there, but %s",
                       vm->definition->name, (int)vm->pid, why);
}

static void on_adopted(HvVm *vm, const GError *error, gpointer data)
{
    (void)data;
    if (vm->phase != HV_PHASE_ADOPTING)
        return;
    // Its monitor went away: the pidfd tells whether it is gone; on_adopt_deadline if it is not.
    if (error && g_error_matches(error, HV_ERROR, HV_ERROR_CLOSED) && vm->phase_timer)
        return;
    GError *problem = error ? unknown(vm, error->message) : NULL;
    if (problem && vm->qmp)
        qmp_client_drain(vm->qmp); // a later adoption begins with a new connection
    if (vm->freed)
        g_clear_error(&problem);
    else
        hv_vm_phase_end(vm, problem);
}

static gboolean on_adopt_deadline(gpointer pointer)
{
    HvVm *vm = pointer;
    vm->phase_timer = 0;
    if (!vm->qmp)
        hv_vm_phase_end(vm, unknown(vm, "its monitor is closed"));
    return G_SOURCE_REMOVE;
}

static GError *check_uuid(HvVm *vm, json_t *result)
{
    const char *uuid = json_string_value(json_object_get(result, "UUID"));
    if (uuid && strcmp(uuid, vm->definition->uuid) == 0)
        return NULL;
    return g_error_new(HV_ERROR, HV_ERROR_UNKNOWN, "it runs the VM with the uuid %s",
                       uuid ? uuid : "(none)");
}

// What runs is what counts, so the recorded definition replaces the given one.
static void take_record(HvVm *vm, HvProcessFile *file)
{
    hv_definition_unref(vm->definition);
    vm->definition = g_steal_pointer(&file->definition);
    vm->start_time = file->start_time;
    vm->epoch = file->epoch;
    vm->rescue_fd = file->rescue_fd;
}

static GError *not_found(const HvVm *vm, HvProcessState state, GError *error)
{
    if (state == HV_PROCESS_UNKNOWN)
        return error;
    return g_error_new(HV_ERROR, HV_ERROR_NOT_RUNNING, "%s: QEMU does not run on this node",
                       vm->definition->name);
}

static bool find(HvVm *vm, GError **error)
{
    g_auto(HvProcessFile) file = {0};
    g_autoptr(GError) problem = NULL;
    int pidfd = -1;
    const char *name = vm->definition->name;
    HvProcessState state = hv_process_find_name(vm->run_dir, name, &file, &pidfd, &problem);
    if (state != HV_PROCESS_ALIVE) {
        g_propagate_error(error, not_found(vm, state, g_steal_pointer(&problem)));
        return false;
    }
    if (!g_str_equal(file.definition->uuid, vm->definition->uuid)) {
        hv_close_fd(&pidfd);
        g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN,
                    "%s: a VM of that name with another uuid (%s) runs on this node", name,
                    file.definition->uuid);
        return false;
    }
    take_record(vm, &file);
    hv_vm_watch(vm, file.pid, pidfd);
    return true;
}

static void begin(HvVm *vm, HvDoneFn done, gpointer data)
{
    vm->phase = HV_PHASE_ADOPTING;
    vm->phase_done = done;
    vm->phase_data = data;
    vm->phase_timer = g_timeout_add(HV_ADOPT_MS, on_adopt_deadline, vm);
    HvSteps *steps = hv_steps_new(HV_ADOPT_MS);
    hv_steps_add(steps, "query-uuid", NULL, check_uuid);
    hv_steps_add(steps, "query-status", NULL, hv_vm_take_status);
    hv_steps_add(steps, "query-migrate", NULL, hv_vm_take_migration);
    hv_steps_run(steps, vm, on_adopted, NULL);
}

void hv_vm_adopt(HvVm *vm, HvDoneFn done, gpointer data)
{
    g_autoptr(GError) error = hv_vm_busy(vm);
    if (error || !find(vm, &error)) {
        hv_vm_answer_later(vm, done, data, g_steal_pointer(&error));
        return;
    }
    vm->run_state = HV_RUN_UNKNOWN;
    if (hv_vm_connect(vm, &error)) {
        begin(vm, done, data);
        return;
    }
    vm->phase = HV_PHASE_UP;
    hv_vm_answer_later(vm, done, data, unknown(vm, error->message));
}
