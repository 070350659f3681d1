// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/load.h"

#include "agent/quarantine.h"
#include "agent/status.h"
#include "agent/worker.h"
#include "hvcore/hugepages.h"

enum {
    POLL_MS = 200,
    QUICK_RECOVERIES = 5, // after these it is the storage that fails, and needs time
    SLOW_MS = 1000,
};

static const FerryPagerEvents pager_events;

struct AgentLoad {
    AgentVm *vm;
    FerryPager *pager; // NULL: an earlier agent's
    gint64 began_us;
    guint poll; // where there is no pager to tell, or before the next one
    bool recovering; // its pager has ended, and the next one is on its way
    char *asked; // where QEMU is being asked to listen for another pager; NULL: it is not
    unsigned recoveries;
    bool hurries;
    AgentJob *job; // of a move that waits; vm->load_job is another one
};

bool agent_load_pending(const AgentVm *vm)
{
    return vm->load != NULL ||
           (vm->state == AGENT_VM_RUNNING && vm->record.state == FERRY_CONSUMED);
}

// --- the record ---

static void looked_again(AgentVm *vm, const FerryRecord *record, const GError *error,
                         gpointer data)
{
    (void)data;
    vm->settling = false;
    if (error == NULL)
        agent_vm_check_right(vm, record);
}

static void settled(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)record;
    (void)data;
    if (error != NULL) {
        g_warning("VM %s: %s", vm->name, error->message);
        agent_record_read(vm, looked_again, NULL); // the next try goes by what is there
        return;
    }
    vm->settling = false;
    agent_status_changed(vm->agent);
    if (vm->state == AGENT_VM_RUNNING) // before a move: it was Pacemaker that asked for the stop
        agent_vm_stop_step(vm);
    agent_vm_wake(vm, &vm->loads, NULL);
}

void agent_load_settle(AgentVm *vm)
{
    FerryRecord next = vm->record;
    if (vm->state != AGENT_VM_RUNNING || vm->load != NULL || vm->settling ||
        vm->record.state != FERRY_CONSUMED ||
        !ferry_record_advance(&next, FERRY_RUNNING, false, vm->agent->name, NULL))
        return;
    vm->settling = true;
    agent_record_write(vm, &next, vm->record.sequence, settled, NULL);
}

// --- a save or move waits for its end ---

static void hurry(AgentLoad *load)
{
    load->hurries = true;
    if (load->pager != NULL) // an earlier agent's cannot be reached
        ferry_pager_hurry(load->pager);
}

void agent_load_hurry(AgentVm *vm, const char *kind, AgentJob *job)
{
    if (vm->load != NULL && !vm->load->hurries)
        hurry(vm->load);
    if (vm->load != NULL && job != NULL)
        vm->load->job = job;
    if (job == NULL && vm->load_job == NULL)
        job = vm->load_job = agent_job_start(vm->agent->jobs, kind, vm->name);
    if (job != NULL)
        agent_job_phase(job, "finish-load");
}

AgentJob *agent_load_take_job(AgentVm *vm)
{
    return g_steal_pointer(&vm->load_job);
}

void agent_load_end_job(AgentVm *vm, const GError *error)
{
    AgentJob *job = agent_load_take_job(vm);
    if (job != NULL)
        agent_job_end(job, error, NULL);
}

static void pager_progress(FerryPager *pager, const FerryPagerProgress *progress, gpointer data)
{
    (void)pager;
    AgentVm *vm = data;
    AgentJob *jobs[] = {vm->load->job, vm->load_job};
    for (size_t i = 0; i < G_N_ELEMENTS(jobs); i++)
        if (jobs[i] != NULL)
            agent_job_progress(jobs[i], progress->bytes_sent, progress->bytes_total);
}

// --- the end ---

static void drop(AgentVm *vm)
{
    AgentLoad *load = g_steal_pointer(&vm->load);
    g_clear_handle_id(&load->poll, g_source_remove);
    ferry_pager_free(load->pager);
    g_free(load->asked);
    g_free(load);
}

static void tell_loaded(const AgentLoad *load, const FerryPagerProgress *progress)
{
    double seconds = (double)(g_get_monotonic_time() - load->began_us) / G_USEC_PER_SEC;
    agent_events_add(load->vm->agent->events, "info", "vm.loaded", load->vm->name,
                     json_pack("{s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "seconds", seconds, "bytes_read",
                               (json_int_t)progress->bytes_read, "bytes_ahead",
                               (json_int_t)progress->bytes_ahead, "faults",
                               (json_int_t)progress->faults, "fault_p50_us",
                               (json_int_t)progress->fault_p50_us, "fault_p99_us",
                               (json_int_t)progress->fault_p99_us, "fault_p999_us",
                               (json_int_t)progress->fault_p999_us, "fault_max_us",
                               (json_int_t)progress->fault_max_us),
                     "%s has all its memory on %s, %.1f s after it began to run here",
                     load->vm->name, load->vm->agent->name, seconds);
}

static void over(AgentVm *vm, const FerryPagerProgress *progress)
{
    tell_loaded(vm->load, progress);
    drop(vm);
    agent_load_settle(vm);
}

static void lost(AgentVm *vm, const GError *error)
{
    g_autoptr(GError) failed = NULL;
    agent_events_add(vm->agent->events, "error", "vm.load-failed", vm->name, NULL,
                     "%s cannot get the rest of its memory: %s; its QEMU is ended, Pacemaker starts "
                     "it cold",
                     vm->name, error->message);
    if (vm->load != NULL)
        drop(vm);
    if (!hv_vm_kill(vm->hv, &failed))
        g_warning("VM %s: %s", vm->name, failed->message);
}

// --- another pager ---

typedef struct {
    Agent *agent;
    char *vm, *socket;
    bool patient; // until QEMU has noticed that its pager is gone
    GError *error;
} Recovery;

static void recovery_run(gpointer data)
{
    Recovery *recovery = data;
    const char *run_dir = recovery->agent->config->run_dir;
    if (recovery->patient)
        hv_process_recover(run_dir, recovery->vm, recovery->socket, AGENT_LOAD_RECOVER_MS,
                           &recovery->error);
    else
        hv_process_recover_now(run_dir, recovery->vm, recovery->socket, &recovery->error);
}

static void start_again(AgentVm *vm, const char *socket)
{
    g_autoptr(GError) error = NULL;
    AgentLoad *load = vm->load;
    load->recovering = false;
    // The image is of the epoch before the commit's.
    load->pager = ferry_pager_start_again(vm->agent->config->libexec_dir,
                                          vm->definition->state_area, socket,
                                          hv_hugepages_block(vm->definition),
                                          vm->record.epoch - 1, &pager_events, vm, &error);
    if (load->pager == NULL)
        lost(vm, error);
    else if (load->hurries)
        ferry_pager_hurry(load->pager);
}

static void tell_lost_pager(AgentVm *vm, const char *why)
{
    agent_events_add(vm->agent->events, "warning", "vm.pager-lost", vm->name, NULL,
                     "the pager of %s ended (%s); another one goes on, the guest waits meanwhile",
                     vm->name, why);
}

static void listens(AgentVm *vm, const char *socket)
{
    if (!vm->load->recovering) {
        g_clear_handle_id(&vm->load->poll, g_source_remove);
        tell_lost_pager(vm, "with the vmferryd that had started it");
    }
    start_again(vm, socket);
}

static void recovery_done(gpointer data)
{
    Recovery *recovery = data;
    AgentVm *vm = agent_vm_find(recovery->agent, recovery->vm);
    if (vm != NULL && vm->load != NULL && g_strcmp0(vm->load->asked, recovery->socket) == 0) {
        g_clear_pointer(&vm->load->asked, g_free);
        if (recovery->error == NULL)
            listens(vm, recovery->socket);
        else if (recovery->patient)
            lost(vm, recovery->error);
    }
    g_clear_error(&recovery->error);
    g_free(recovery->vm);
    g_free(recovery->socket);
    g_free(recovery);
}

static void ask_to_listen(AgentVm *vm)
{
    if (vm->load->asked != NULL)
        return;
    g_autofree char *file = g_strdup_printf("pager-%" G_GINT64_FORMAT ".sock",
                                            g_get_monotonic_time());
    vm->load->asked = hv_vm_qemu_file(vm->agent->config->run_dir, vm->name, file);
    Recovery *recovery = g_new0(Recovery, 1);
    *recovery = (Recovery){.agent = vm->agent,
                           .vm = g_strdup(vm->name),
                           .socket = g_strdup(vm->load->asked),
                           .patient = vm->load->recovering};
    agent_worker_run(recovery_run, recovery_done, recovery);
}

static gboolean begin_recovery(gpointer data)
{
    AgentVm *vm = data;
    vm->load->poll = 0;
    ask_to_listen(vm);
    return G_SOURCE_REMOVE;
}

// A pager that ended between QEMU's last page and its own last word leaves nothing to go on with.
static void recover(AgentVm *vm, const char *why)
{
    if (hv_vm_migration(vm->hv) == HV_MIGRATION_COMPLETED) {
        over(vm, &(FerryPagerProgress){0});
        return;
    }
    tell_lost_pager(vm, why);
    vm->load->recovering = true;
    bool often = ++vm->load->recoveries > QUICK_RECOVERIES;
    vm->load->poll = g_timeout_add(often ? SLOW_MS : 0, begin_recovery, vm);
}

// --- what the pager says ---

static void pager_loaded(FerryPager *pager, const FerryPagerProgress *progress, gpointer data)
{
    (void)pager;
    over(data, progress);
}

// A damaged image stays damaged; a pager that ended for another reason is replaced, the guest only
// waits.
static void pager_failed(FerryPager *pager, const GError *error, gpointer data)
{
    (void)pager;
    AgentVm *vm = data;
    g_autoptr(GError) copy = g_error_copy(error); // the pager's own, which goes
    if (g_error_matches(copy, FERRY_ERROR, FERRY_ERROR_CORRUPT)) {
        drop(vm);
        agent_quarantine_begin(vm, copy);
        return;
    }
    g_clear_pointer(&vm->load->pager, ferry_pager_free);
    recover(vm, copy->message);
}

static void pager_connected(FerryPager *pager, gpointer data)
{
    (void)pager;
    (void)data;
}

static const FerryPagerEvents pager_events = {
    .connected = pager_connected,
    .progress = pager_progress,
    .loaded = pager_loaded,
    .failed = pager_failed,
};

// --- without a pager of our own: what QEMU says ---

static void migration_known(HvVm *hv, const HvMigration *migration, const GError *error,
                            gpointer data)
{
    (void)hv;
    AgentVm *vm = data;
    if (vm->load == NULL || error != NULL || vm->load->pager != NULL)
        return;
    if (migration->status == HV_MIGRATION_COMPLETED || migration->status == HV_MIGRATION_NONE) {
        over(vm, &(FerryPagerProgress){0});
    } else if (migration->status == HV_MIGRATION_FAILED) {
        g_autoptr(GError) failed = g_error_new(FERRY_ERROR, FERRY_ERROR_CHILD, "%s",
                                               migration->error);
        lost(vm, failed);
    }
}

// While a pager is being replaced, too: QEMU may have got its last page just before.
void agent_load_migration(AgentVm *vm, HvMigrationStatus status)
{
    if (vm->load->pager == NULL && status == HV_MIGRATION_COMPLETED)
        over(vm, &(FerryPagerProgress){0});
}

// QEMU is asked for the load's end, and to listen for another pager: it refuses that while the earlier
// agent's goes on. Its main loop, which has to answer the first, may be waiting for a page itself.
static gboolean poll_migration(gpointer data)
{
    AgentVm *vm = data;
    if (hv_vm_process_alive(vm->hv)) {
        hv_vm_query_migration(vm->hv, migration_known, vm);
        ask_to_listen(vm);
    }
    return G_SOURCE_CONTINUE;
}

// --- making one ---

void agent_load_failed(AgentVm *vm, const GError *error)
{
    pager_failed(vm->load->pager, error, vm);
}

void agent_load_begin(AgentVm *vm, FerryPager *pager)
{
    AgentLoad *load = g_new0(AgentLoad, 1);
    *load = (AgentLoad){.vm = vm, .pager = pager, .began_us = g_get_monotonic_time()};
    vm->load = load;
    if (pager != NULL)
        ferry_pager_redirect(pager, &pager_events, vm);
    else
        load->poll = g_timeout_add(POLL_MS, poll_migration, vm);
    agent_status_changed(vm->agent);
}

void agent_load_free(AgentLoad *load)
{
    if (load == NULL)
        return;
    g_clear_handle_id(&load->poll, g_source_remove);
    if (load->pager != NULL)
        ferry_pager_leave(load->pager);
    g_free(load->asked);
    g_free(load);
}
