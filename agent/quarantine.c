// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU is killed, not paused: QMP's `stop` waits for each vCPU to stop, one of them waits for the
// page that will never come, and the others would run on meanwhile. The record follows when the
// process is proven gone: QUARANTINED says that nobody runs the VM. Between both, a file in the run
// directory keeps the reason, so that a vmferryd that is started again goes on, and the VM is not
// booted cold unasked.
#include "agent/quarantine.h"

#include "agent/status.h"

#include <glib/gstdio.h>
#include <string.h>

struct AgentQuarantine {
    char *why;
    unsigned failures; // to write the record
    guint timer;
};

static void write_record(AgentVm *vm);

// --- the note for a vmferryd that comes after this one: the epoch, then the reason ---

static char *note_path(const AgentVm *vm)
{
    return g_build_filename(vm->agent->config->run_dir, vm->name, "quarantine", NULL);
}

static void write_note(const AgentVm *vm)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = note_path(vm);
    g_autofree char *text =
        g_strdup_printf("%" G_GUINT64_FORMAT " %s", vm->record.epoch, vm->quarantine->why);
    if (!g_file_set_contents(path, text, -1, &error))
        g_warning("VM %s: %s", vm->name, error->message);
}

static char *read_note(const AgentVm *vm, uint64_t *epoch)
{
    g_autofree char *path = note_path(vm);
    g_autofree char *text = NULL;
    char *why;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return NULL;
    *epoch = g_ascii_strtoull(text, &why, 10);
    return g_strdup(g_strchug(why));
}

static void remove_note(const AgentVm *vm)
{
    g_autofree char *path = note_path(vm);
    (void)g_unlink(path);
}

// --- the end ---

void agent_quarantine_free(AgentQuarantine *quarantine)
{
    if (quarantine == NULL)
        return;
    g_clear_handle_id(&quarantine->timer, g_source_remove);
    g_free(quarantine->why);
    g_free(quarantine);
}

static void end(AgentVm *vm)
{
    bool unasked = g_queue_is_empty(&vm->stops);
    remove_note(vm);
    g_clear_pointer(&vm->quarantine, agent_quarantine_free);
    agent_vm_set_state(vm, AGENT_VM_ABSENT);
    if (unasked)
        agent_pacemaker_fail(vm->agent->pacemaker, vm->name, vm->agent->name, NULL, NULL);
}

static void quarantined(AgentVm *vm)
{
    const char *why = vm->quarantine->why;
    g_free(vm->last_error);
    vm->last_error = g_utf8_make_valid(why, -1);
    vm->last_error_ms = g_get_real_time() / 1000;
    agent_events_add(vm->agent->events, "error", "vm.quarantined", vm->name, NULL,
                     "%s is ended, and its saved memory quarantined: %s", vm->name, why);
    end(vm);
}

static void given_up(AgentVm *vm, const GError *error)
{
    agent_events_add(vm->agent->events, "error", "vm.quarantine-failed", vm->name, NULL,
                     "%s is ended, but its run record cannot say that its saved memory is damaged: "
                     "%s. Its next start may be a cold one",
                     vm->name, error->message);
    end(vm);
}

// --- the record ---

static gboolean again(gpointer data)
{
    AgentVm *vm = data;
    vm->quarantine->timer = 0;
    write_record(vm);
    return G_SOURCE_REMOVE;
}

static void written(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)record;
    (void)data;
    if (error == NULL)
        quarantined(vm);
    else if (g_error_matches(error, FERRY_ERROR, FERRY_ERROR_STATE) ||
             ++vm->quarantine->failures == AGENT_QUARANTINE_TRIES)
        given_up(vm, error);
    else
        vm->quarantine->timer = g_timeout_add(AGENT_QUARANTINE_AGAIN_MS, again, vm);
}

static void write_record(AgentVm *vm)
{
    g_autoptr(GError) error = NULL;
    FerryRecord next = vm->record;
    if (ferry_record_advance(&next, FERRY_QUARANTINED, false, vm->agent->name, &error))
        agent_record_write(vm, &next, vm->record.sequence, written, NULL);
    else
        given_up(vm, error);
}

// --- the beginning ---

static void new_quarantine(AgentVm *vm, char *why)
{
    vm->quarantine = g_new0(AgentQuarantine, 1);
    vm->quarantine->why = why;
    g_clear_handle_id(&vm->stop_timer, g_source_remove); // a stop waits for this end, whatever it takes
    agent_vm_set_state(vm, AGENT_VM_STOPPING);
}

void agent_quarantine_begin(AgentVm *vm, const GError *why)
{
    g_autoptr(GError) failed = NULL;
    if (vm->quarantine != NULL)
        return;
    agent_events_add(vm->agent->events, "error", "vm.load-damaged", vm->name, NULL,
                     "%s cannot get the rest of its memory and is ended at once: %s", vm->name,
                     why->message);
    new_quarantine(vm, g_strdup(why->message));
    write_note(vm);
    if (!hv_vm_kill(vm->hv, &failed))
        agent_events_add(vm->agent->events, "error", "vm.kill-failed", vm->name, NULL,
                         "QEMU of %s could not be killed: %s", vm->name, failed->message);
}

void agent_quarantine_qemu_exited(AgentVm *vm)
{
    agent_vm_detach(vm);
    write_record(vm);
}

// --- after a start of vmferryd ---

static void record_known(AgentVm *vm, const FerryRecord *record, const GError *error,
                         gpointer data);

static gboolean look_again(gpointer data)
{
    AgentVm *vm = data;
    vm->quarantine->timer = 0;
    agent_record_read(vm, record_known, NULL);
    return G_SOURCE_REMOVE;
}

// Only the load that was damaged: the note may be older than what the record says.
static bool concerns(const AgentVm *vm, const FerryRecord *record)
{
    uint64_t epoch = 0;
    g_autofree char *why = read_note(vm, &epoch);
    return why != NULL && record->state == FERRY_CONSUMED && record->epoch == epoch &&
           strcmp(record->owner, vm->agent->name) == 0;
}

static void record_known(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)data;
    if (error != NULL && ++vm->quarantine->failures == AGENT_QUARANTINE_TRIES)
        given_up(vm, error);
    else if (error != NULL)
        vm->quarantine->timer = g_timeout_add(AGENT_QUARANTINE_AGAIN_MS, look_again, vm);
    else if (concerns(vm, record))
        write_record(vm);
    else
        end(vm);
}

bool agent_quarantine_resume(AgentVm *vm)
{
    uint64_t epoch = 0;
    char *why = read_note(vm, &epoch);
    if (why == NULL)
        return false;
    agent_vm_detach(vm);
    new_quarantine(vm, why);
    agent_record_read(vm, record_known, NULL);
    return true;
}
