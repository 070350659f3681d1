// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's events and run states.
#include "hvcore/clean_bits.h"
#include "hvcore/fs.h"
#include "hvcore/process_file.h"
#include "hvcore/rescue.h"
#include "hvcore/unix_socket.h"
#include "hvcore/vm_private.h"

#include <string.h>

static const struct {
    const char *name;
    HvRunState state;
} run_states[] = {
    {"debug", HV_RUN_PAUSED},
    {"finish-migrate", HV_RUN_FINISH_MIGRATE},
    {"guest-panicked", HV_RUN_ERROR},
    {"inmigrate", HV_RUN_INMIGRATE},
    {"internal-error", HV_RUN_ERROR},
    {"io-error", HV_RUN_IO_ERROR},
    {"paused", HV_RUN_PAUSED},
    {"postmigrate", HV_RUN_POSTMIGRATE},
    {"prelaunch", HV_RUN_PRELAUNCH},
    {"restore-vm", HV_RUN_INMIGRATE},
    {"running", HV_RUN_RUNNING},
    {"save-vm", HV_RUN_PAUSED},
    {"shutdown", HV_RUN_SHUTDOWN},
    {"suspended", HV_RUN_RUNNING}, // the guest sleeps by its own will (ACPI S3)
    {"watchdog", HV_RUN_ERROR},
};

HvRunState hv_run_state_parse(const char *name)
{
    for (size_t i = 0; name && i < G_N_ELEMENTS(run_states); i++)
        if (strcmp(run_states[i].name, name) == 0)
            return run_states[i].state;
    return HV_RUN_UNKNOWN;
}

const char *hv_run_state_name(HvRunState state)
{
    static const char *const names[] = {"unknown",        "prelaunch", "inmigrate",
                                        "running",        "paused",    "postmigrate",
                                        "finish-migrate", "shutdown",  "error",
                                        "io-error"};
    return (unsigned)state < G_N_ELEMENTS(names) ? names[state] : "unknown";
}

HvMigrationStatus hv_migration_status_parse(const char *name)
{
    if (!name || strcmp(name, "none") == 0)
        return HV_MIGRATION_NONE;
    if (strcmp(name, "completed") == 0)
        return HV_MIGRATION_COMPLETED;
    if (strcmp(name, "failed") == 0)
        return HV_MIGRATION_FAILED;
    if (strcmp(name, "cancelled") == 0)
        return HV_MIGRATION_CANCELLED;
    if (strcmp(name, "postcopy-paused") == 0)
        return HV_MIGRATION_PAUSED;
    return HV_MIGRATION_ACTIVE; // setup, active, device, postcopy-active, cancelling, ...
}

void hv_vm_set_run_state(HvVm *vm, HvRunState state)
{
    if (vm->run_state == state)
        return;
    vm->run_state = state;
    if (vm->events.run_state && !vm->freed)
        vm->events.run_state(vm, state, vm->data);
}

// --- asking again while a state is about to change, which QEMU sends no event for ---

static bool is_transient(const HvVm *vm)
{
    return (vm->run_state == HV_RUN_INMIGRATE && vm->incoming_runs) ||
           (vm->run_state == HV_RUN_FINISH_MIGRATE && vm->migration != HV_MIGRATION_ACTIVE);
}

static void refresh(HvVm *vm);

static gboolean on_settle(gpointer pointer)
{
    HvVm *vm = pointer;
    vm->settle_timer = 0;
    refresh(vm);
    return G_SOURCE_REMOVE;
}

GError *hv_vm_take_status(HvVm *vm, json_t *result)
{
    const char *name = json_string_value(json_object_get(result, "status"));
    hv_vm_set_run_state(vm, hv_run_state_parse(name));
    if (!vm->freed && vm->qmp && is_transient(vm) && !vm->settle_timer)
        vm->settle_timer = g_timeout_add(HV_SETTLE_MS, on_settle, vm);
    return NULL;
}

static void on_refreshed(json_t *result, const GError *error, gpointer pointer)
{
    HvVm *vm = pointer;
    if (vm->freed)
        return;
    if (!error)
        hv_vm_take_status(vm, result);
    else if (g_error_matches(error, HV_ERROR, HV_ERROR_TIMEOUT))
        hv_vm_set_run_state(vm, HV_RUN_UNKNOWN);
}

static void refresh(HvVm *vm)
{
    if (!vm->freed && vm->qmp)
        hv_vm_command(vm, "query-status", NULL, HV_COMMAND_MS, on_refreshed, hv_vm_hold(vm),
                      (GDestroyNotify)hv_vm_release);
}

// --- events ---

static void set_migration(HvVm *vm, HvMigrationStatus status)
{
    if (vm->migration == status)
        return;
    vm->migration = status;
    if (status == HV_MIGRATION_COMPLETED)
        hv_rescue_end(vm->pidfd, vm->rescue_fd);
    if (vm->events.migration && !vm->freed)
        vm->events.migration(vm, status, vm->data);
}

GError *hv_vm_take_migration(HvVm *vm, json_t *result)
{
    const char *status = json_string_value(json_object_get(result, "status"));
    vm->incoming_runs = vm->run_state == HV_RUN_INMIGRATE && status && strcmp(status, "none") != 0;
    set_migration(vm, hv_clean_bits_status(vm, result));
    return NULL;
}

static void on_migration(json_t *data, gpointer pointer)
{
    g_autoptr(HvVmHold) vm = hv_vm_hold(pointer);
    const char *status = json_string_value(json_object_get(data, "status"));
    vm->incoming_runs =
        status && (strcmp(status, "postcopy-active") == 0 || strcmp(status, "completed") == 0);
    set_migration(vm, hv_migration_status_parse(status));
    refresh(vm);
    // QEMU answers when the device state is loaded, but just before it says so. It reads its monitor byte
    // by byte: the next question is there when it does.
    if (vm->incoming_runs)
        refresh(vm);
}

static void on_resume(json_t *data, gpointer pointer)
{
    (void)data;
    hv_vm_set_run_state(pointer, HV_RUN_RUNNING);
}

// For the last pass the state is told at once, because QEMU answers no question until that pass is
// over. Any other stop has a reason that only query-status knows.
static void on_stop(json_t *data, gpointer pointer)
{
    (void)data;
    g_autoptr(HvVmHold) vm = hv_vm_hold(pointer);
    if (vm->migration == HV_MIGRATION_ACTIVE && vm->run_state == HV_RUN_RUNNING)
        hv_vm_set_run_state(vm, HV_RUN_FINISH_MIGRATE);
    refresh(vm);
}

static void tell_guest_shutdown(HvVm *vm, json_t *data)
{
    const char *reason = json_string_value(json_object_get(data, "reason"));
    if (vm->freed || !vm->events.guest_shutdown || !json_is_true(json_object_get(data, "guest")))
        return;
    vm->events.guest_shutdown(vm, reason ? reason : "unknown", vm->data);
}

static void on_reset(json_t *data, gpointer pointer)
{
    tell_guest_shutdown(pointer, data);
}

// With -no-shutdown QEMU stays after a power-off; after `quit` it goes.
static void on_shutdown(json_t *data, gpointer pointer)
{
    g_autoptr(HvVmHold) vm = hv_vm_hold(pointer);
    if (json_is_true(json_object_get(data, "guest")))
        hv_vm_set_run_state(vm, HV_RUN_SHUTDOWN);
    tell_guest_shutdown(vm, data);
    refresh(vm);
}

static void on_panic(json_t *data, gpointer pointer)
{
    (void)data;
    refresh(pointer);
}

static const QmpEvent events[] = {
    {"GUEST_PANICKED", on_panic}, {"MIGRATION", on_migration}, {"RESET", on_reset},
    {"RESUME", on_resume},        {"SHUTDOWN", on_shutdown},   {"STOP", on_stop},
};

// --- the connection ---

static void on_closed(const GError *error, gpointer pointer)
{
    g_autoptr(HvVmHold) vm = hv_vm_hold(pointer);
    g_debug("%s: %s", vm->definition->name, error->message);
    g_ptr_array_add(vm->retired, g_steal_pointer(&vm->qmp));
    hv_vm_drop_source(&vm->settle_timer);
    hv_vm_set_run_state(vm, HV_RUN_UNKNOWN);
}

bool hv_vm_connect(HvVm *vm, GError **error)
{
    g_autofree char *path = hv_vm_file(vm->run_dir, vm->definition->name, "qmp.sock");
    int fd = hv_unix_connect(path, error);
    if (fd < 0)
        return false;
    vm->qmp = qmp_client_new(fd, events, G_N_ELEMENTS(events), on_closed, vm);
    return true;
}
