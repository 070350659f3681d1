// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/move_in.h"

#include "agent/guest_time.h"
#include "agent/load.h"
#include "agent/messages.h"
#include "agent/status.h"
#include "hvcore/hugepages.h"
#include "migrate/pager.h"

#include <string.h>

struct AgentMoveIn {
    AgentVm *vm;
    FerryTarget *target;
    FerryPager *pager;
    char *socket;
    uint64_t epoch; // the image's
    uint64_t bytes_read;
    bool lazy;
    bool preparing;
    bool pager_done; // lazy: all that QEMU needs to run is sent
    bool qemu_done;
    bool all_loaded;
    GError *load_error; // of a lazy load, after pager_done
    GError *prepare_error; // told when QEMU is gone
    guint timer;
    guint exit_timer; // QEMU ended: the pager may know better why
};

enum { PAGER_MS = 300 }; // between QEMU's end and the pager's reason

// --- preparing: check, launch, listen, connect ---

static void prepared(AgentMoveIn *in, const GError *error)
{
    in->preparing = false;
    if (error == NULL && in->lazy && ferry_target_source(in->target) != NULL)
        ferry_pager_preload(in->pager, in->epoch);
    ferry_target_prepared(in->target, error);
}

static void prepare_failed(AgentMoveIn *in, const GError *error)
{
    AgentVm *vm = in->vm;
    g_autoptr(GError) copy = g_error_copy(error);
    g_clear_pointer(&in->pager, ferry_pager_free);
    if (vm->hv == NULL || !hv_vm_process_alive(vm->hv)) {
        prepared(in, copy);
        return;
    }
    if (in->prepare_error == NULL)
        in->prepare_error = g_steal_pointer(&copy);
    hv_vm_kill(vm->hv, NULL);
}

static void pager_connected(FerryPager *pager, gpointer data)
{
    (void)pager;
    AgentMoveIn *in = data;
    if (in->preparing)
        prepared(in, NULL);
}

static void report_loaded(AgentMoveIn *in)
{
    if (in->pager_done && in->qemu_done)
        ferry_target_loaded(in->target, in->lazy ? "lazy" : "eager", in->bytes_read, NULL);
}

static void pager_running(FerryPager *pager, gpointer data)
{
    (void)pager;
    AgentMoveIn *in = data;
    in->pager_done = true;
    report_loaded(in);
}

static void pager_loaded(FerryPager *pager, const FerryPagerProgress *progress, gpointer data)
{
    (void)pager;
    AgentMoveIn *in = data;
    in->bytes_read = progress->bytes_read;
    in->pager_done = in->all_loaded = true;
    report_loaded(in);
}

// Not only the guest waits for the next pager: `cont` may touch a page, too.
static void replace_pager(AgentMoveIn *in)
{
    g_autoptr(GError) error = g_steal_pointer(&in->load_error);
    agent_load_begin(in->vm, g_steal_pointer(&in->pager));
    agent_load_failed(in->vm, error);
}

static bool can_replace_pager(const AgentMoveIn *in)
{
    return in->load_error != NULL && ferry_target_committed(in->target) &&
           !g_error_matches(in->load_error, FERRY_ERROR, FERRY_ERROR_CORRUPT);
}

// QEMU has all that it needs to run: another pager can go on, and the commit is decided without it.
// A damaged image ends the load all the same, if it is not too late.
static void load_cut(AgentMoveIn *in, const GError *error)
{
    in->load_error = g_error_copy(error);
    if (g_error_matches(error, FERRY_ERROR, FERRY_ERROR_CORRUPT))
        ferry_target_loaded(in->target, "", 0, error);
    else if (can_replace_pager(in))
        replace_pager(in);
}

static void pager_failed(FerryPager *pager, const GError *error, gpointer data)
{
    (void)pager;
    AgentMoveIn *in = data;
    if (in->preparing)
        prepare_failed(in, error);
    else if (in->lazy && in->pager_done)
        load_cut(in, error);
    else
        ferry_target_loaded(in->target, "", 0, error);
}

static void pager_ahead(FerryPager *pager, uint64_t bytes, gpointer data)
{
    (void)pager;
    AgentMoveIn *in = data;
    ferry_target_ahead(in->target, bytes);
}

static const FerryPagerEvents pager_events = {
    .ahead = pager_ahead,
    .connected = pager_connected,
    .loaded = pager_loaded,
    .failed = pager_failed,
    .running = pager_running,
};

static void say_eager(AgentVm *vm, const char *why)
{
    agent_events_add(vm->agent->events, "warning", "vm.restore-eager", vm->name, NULL,
                     "%s is loaded whole before it runs: on %s QEMU cannot use userfaultfd (%s); "
                     "its user needs /dev/userfaultfd (QEMU 8.0 or later), or the node "
                     "vm.unprivileged_userfaultfd=1",
                     vm->name, vm->agent->name, why);
}

static void qemu_listens(HvVm *hv, const GError *error, gpointer data)
{
    AgentVm *vm = data;
    AgentMoveIn *in = vm->in;
    g_autoptr(GError) failure = NULL;
    if (in == NULL)
        return;
    if (in->lazy && g_error_matches(error, HV_ERROR, HV_ERROR_QMP)) { // it tried userfaultfd itself
        say_eager(vm, error->message);
        in->lazy = false;
        hv_vm_load(hv, in->socket, false, qemu_listens, vm);
        return;
    }
    if (error != NULL) {
        prepare_failed(in, error);
        return;
    }
    const char *libexec = vm->agent->config->libexec_dir, *area = vm->definition->state_area;
    in->pager = in->lazy ? ferry_pager_start_lazy(libexec, area, in->socket,
                                                  hv_hugepages_block(vm->definition),
                                                  &pager_events, in, &failure)
                         : ferry_pager_start(libexec, area, in->socket, &pager_events, in,
                                             &failure);
    if (in->pager == NULL)
        prepare_failed(in, failure);
}

static void launched(HvVm *hv, const GError *error, gpointer data)
{
    AgentVm *vm = data;
    if (vm->in == NULL)
        return;
    if (error != NULL)
        prepare_failed(vm->in, error);
    else
        hv_vm_load(hv, vm->in->socket, vm->in->lazy, qemu_listens, vm);
}

static GError *other_accelerator(const AgentVm *vm, const FerryRecord *record)
{
    const HvNode *node = vm->agent->node;
    if (strcmp(record->accelerator, node->accelerator) == 0)
        return NULL;
    return g_error_new(FERRY_ERROR, FERRY_ERROR_REFUSED,
                       "%s runs under %s, but %s has %s (%s): its memory cannot be loaded here",
                       vm->name, record->accelerator, vm->agent->name, node->accelerator,
                       node->accelerator_reason);
}

static void checked(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)data;
    if (vm->in == NULL)
        return;
    g_autoptr(GError) other = error == NULL ? other_accelerator(vm, record) : NULL;
    if (error != NULL || other != NULL) {
        prepare_failed(vm->in, error != NULL ? error : other);
        return;
    }
    agent_vm_attach(vm, vm->definition);
    hv_vm_launch(vm->hv, HV_LAUNCH_INCOMING, vm->in->epoch + 1, launched, vm);
}

// --- operations the target asks for ---

static int64_t now_us(void *env)
{
    (void)env;
    return g_get_monotonic_time();
}

static gboolean timer_fired(gpointer data)
{
    AgentMoveIn *in = data;
    in->timer = 0;
    ferry_target_timer(in->target);
    return G_SOURCE_REMOVE;
}

static void set_timer(void *env, unsigned ms)
{
    AgentMoveIn *in = env;
    g_clear_handle_id(&in->timer, g_source_remove);
    if (ms != 0)
        in->timer = g_timeout_add(ms, timer_fired, in);
}

static void send_message(void *env, const FerryMessage *message)
{
    AgentMoveIn *in = env;
    agent_messages_send_move(in->vm->agent, ferry_target_source(in->target), message);
}

static void prepare(void *env)
{
    AgentMoveIn *in = env;
    in->preparing = true;
    agent_record_check(in->vm, checked, NULL);
}

static void was_read(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)data;
    if (vm->in != NULL)
        ferry_target_read(vm->in->target, record, error);
}

static void read_record(void *env)
{
    AgentMoveIn *in = env;
    agent_record_read(in->vm, was_read, NULL);
}

static void written(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)data;
    if (vm->in != NULL)
        ferry_target_written(vm->in->target, record, error);
}

static void write_record(void *env, const FerryRecord *record, uint64_t expected)
{
    AgentMoveIn *in = env;
    agent_record_write(in->vm, record, expected, written, NULL);
}

static void load(void *env, uint64_t epoch)
{
    AgentMoveIn *in = env;
    agent_outbox_quiet(in->vm->agent->outbox, AGENT_QUIET_MS);
    ferry_pager_load(in->pager, epoch);
}

static bool may_commit(void *env, GError **error)
{
    AgentMoveIn *in = env;
    if (agent_cluster_quorate(in->vm->agent->cluster))
        return true;
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                "%s has no quorum and must not take over a VM", in->vm->agent->name);
    return false;
}

static void continued(HvVm *hv, const GError *error, gpointer data)
{
    AgentVm *vm = data;
    if (vm->in == NULL)
        return;
    agent_outbox_quiet(vm->agent->outbox, AGENT_QUIET_MS);
    if (error == NULL)
        hv_vm_announce(hv, NULL, NULL);
    ferry_target_continued(vm->in->target, error);
}

static void cont(void *env)
{
    AgentMoveIn *in = env;
    if (can_replace_pager(in))
        replace_pager(in);
    hv_vm_cont(in->vm->hv, continued, in->vm);
}

static bool still_loading(void *env)
{
    AgentMoveIn *in = env;
    bool handed_over = in->pager == NULL;
    return handed_over ? in->vm->load != NULL : in->lazy && !in->all_loaded;
}

static void kill_qemu(void *env)
{
    AgentMoveIn *in = env;
    g_autoptr(GError) error = NULL;
    g_clear_pointer(&in->pager, ferry_pager_free);
    if (!hv_vm_process_alive(in->vm->hv))
        ferry_target_qemu_exited(in->target);
    else if (!hv_vm_kill(in->vm->hv, &error))
        agent_events_add(in->vm->agent->events, "error", "vm.kill-failed", in->vm->name, NULL,
                         "QEMU of %s could not be killed: %s", in->vm->name, error->message);
}

static void phase(void *env, FerryPhase now)
{
    AgentMoveIn *in = env;
    agent_events_add(in->vm->agent->events, "info", "move.phase", in->vm->name,
                     json_pack("{s:s, s:s*, s:s}", "phase", ferry_phase_name(now), "from",
                               ferry_target_source(in->target), "move",
                               ferry_target_move(in->target)),
                     "%s arrives: %s", in->vm->name, ferry_phase_name(now));
    agent_status_changed(in->vm->agent); // from the commit on the VM is here
}

// --- the end ---

static void tell_end(AgentVm *vm, FerryTargetOutcome outcome, const char *source,
                     const GError *error)
{
    AgentEvents *events = vm->agent->events;
    const char *why = error != NULL ? error->message : "";
    switch (outcome) {
    case FERRY_TARGET_RUNNING:
        agent_events_add(events, "info", "move.arrived", vm->name, NULL,
                         "%s runs on %s from the memory that %s saved", vm->name, vm->agent->name,
                         vm->record.owner[0] != '\0' && source != NULL ? source : "its last owner");
        break;
    case FERRY_TARGET_ABORTED:
        agent_events_add(events, "warning", "move.not-taken", vm->name, NULL,
                         "%s was not taken over by %s: %s", vm->name, vm->agent->name, why);
        break;
    case FERRY_TARGET_QUARANTINED:
        agent_events_add(events, "error", "vm.quarantined", vm->name, NULL,
                         "the saved memory of %s is damaged and quarantined: %s", vm->name, why);
        break;
    case FERRY_TARGET_LOST:
        agent_events_add(events, "error", "vm.died", vm->name, NULL,
                         "%s was taken over by %s, but its QEMU ended: %s", vm->name,
                         vm->agent->name, why);
        break;
    }
}

static void finished(void *env, FerryTargetOutcome outcome, const GError *error)
{
    AgentMoveIn *in = env;
    AgentVm *vm = in->vm;
    bool restore = ferry_target_source(in->target) == NULL;
    g_autoptr(GError) failure = error != NULL ? g_error_copy(error) : NULL;
    if (failure == NULL && outcome != FERRY_TARGET_RUNNING)
        failure = g_error_new(FERRY_ERROR, FERRY_ERROR_ABORTED, "given up");
    tell_end(vm, outcome, ferry_target_source(in->target), error);
    if (outcome == FERRY_TARGET_RUNNING || outcome == FERRY_TARGET_LOST)
        vm->record = *ferry_target_record(in->target);
    FerryPager *pager = outcome == FERRY_TARGET_RUNNING && still_loading(in)
                            ? g_steal_pointer(&in->pager)
                            : NULL;
    g_autoptr(GError) load_error = g_steal_pointer(&in->load_error);
    vm->in = NULL;
    agent_move_in_free(in);
    if (pager != NULL)
        agent_load_begin(vm, pager);
    if (restore) {
        agent_vm_start_restored(vm, failure);
    } else {
        if (outcome != FERRY_TARGET_RUNNING)
            agent_vm_detach(vm);
        agent_vm_set_state(vm, outcome == FERRY_TARGET_RUNNING ? AGENT_VM_RUNNING
                                                               : AGENT_VM_ABSENT);
    }
    agent_vm_wake(vm, &vm->arrivals, failure);
    if (pager != NULL && load_error != NULL)
        agent_load_failed(vm, load_error);
    agent_guest_time_begin(vm);
}

static const FerryTargetOps target_ops = {
    .now_us = now_us,
    .set_timer = set_timer,
    .send = send_message,
    .prepare = prepare,
    .read_record = read_record,
    .write_record = write_record,
    .load = load,
    .may_commit = may_commit,
    .cont = cont,
    .still_loading = still_loading,
    .kill = kill_qemu,
    .phase = phase,
    .finished = finished,
};

// --- making one ---

static bool loads_lazily(AgentVm *vm)
{
    g_autoptr(HvDefinition) wanted = agent_vm_wanted(vm);
    if (wanted->restore == HV_RESTORE_EAGER)
        return false;
    if (!vm->agent->node->userfaultfd)
        say_eager(vm, "tried when vmferryd was started");
    return vm->agent->node->userfaultfd;
}

static AgentMoveIn *new_in(AgentVm *vm, const char *move, const char *source, uint64_t epoch)
{
    AgentMoveIn *in = g_new0(AgentMoveIn, 1);
    in->vm = vm;
    in->epoch = epoch;
    in->lazy = loads_lazily(vm);
    in->socket = hv_vm_qemu_file(vm->agent->config->run_dir, vm->name, "pager.sock");
    in->target = ferry_target_new(&target_ops, in, move, vm->name, vm->definition->uuid,
                                  vm->agent->name, source, epoch);
    vm->in = in;
    return in;
}

void agent_move_in_restore(AgentVm *vm, const FerryRecord *record)
{
    g_autofree char *move = agent_new_id(vm->agent);
    ferry_target_start(new_in(vm, move, NULL, record->epoch)->target);
}

static void refuse(Agent *agent, const char *from, const FerryMessage *message, const char *reason)
{
    agent_messages_send_move(agent, from, &(FerryMessage){.type = FERRY_MESSAGE_REFUSED,
                                                          .move = message->move,
                                                          .vm = message->vm,
                                                          .epoch = message->epoch,
                                                          .reason = reason});
}

void agent_move_in_rehearse(Agent *agent, const char *from, const FerryMessage *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = hv_definition_parse(message->definition, &error);
    if (definition == NULL) {
        refuse(agent, from, message, error->message);
        return;
    }
    if (hv_definition_is_exclusive(definition)) {
        refuse(agent, from, message,
               "it has a file system that only its owner mounts: it is saved, stopped and started "
               "elsewhere instead (the resource needs allow-migrate=false)");
        return;
    }
    AgentVm *vm = agent_vm_ensure(agent, definition->name);
    if (vm->state != AGENT_VM_ABSENT) {
        g_autofree char *reason = g_strdup_printf("%s is %s on %s already", vm->name,
                                                  agent_vm_state_name(vm->state), agent->name);
        refuse(agent, from, message, reason);
        return;
    }
    if (vm->definition != NULL)
        hv_definition_unref(vm->definition);
    vm->definition = g_steal_pointer(&definition);
    AgentMoveIn *in = new_in(vm, message->move, from, message->epoch);
    agent_vm_set_state(vm, AGENT_VM_INCOMING);
    ferry_target_start(in->target);
}

void agent_move_in_cancel(AgentMoveIn *in, const char *reason)
{
    ferry_target_cancel(in->target, reason);
}

void agent_move_in_free(AgentMoveIn *in)
{
    if (in == NULL)
        return;
    g_clear_handle_id(&in->timer, g_source_remove);
    g_clear_handle_id(&in->exit_timer, g_source_remove);
    ferry_pager_free(in->pager);
    ferry_target_free(in->target);
    g_clear_error(&in->prepare_error);
    g_clear_error(&in->load_error);
    g_free(in->socket);
    g_free(in);
}

const char *agent_move_in_source(const AgentMoveIn *in)
{
    return ferry_target_source(in->target);
}

bool agent_move_in_is(const AgentMoveIn *in, const char *move)
{
    return strcmp(ferry_target_move(in->target), move) == 0;
}

bool agent_move_in_committed(const AgentMoveIn *in)
{
    return ferry_target_committed(in->target);
}

// --- events ---

void agent_move_in_message(AgentMoveIn *in, const FerryMessage *message)
{
    ferry_target_message(in->target, message);
}

void agent_move_in_peer_left(AgentMoveIn *in)
{
    ferry_target_peer_left(in->target);
}

static gboolean pager_is_silent(gpointer data)
{
    AgentMoveIn *in = data;
    in->exit_timer = 0;
    ferry_target_qemu_exited(in->target);
    return G_SOURCE_REMOVE;
}

void agent_move_in_qemu_exited(AgentMoveIn *in)
{
    g_autoptr(GError) error = g_steal_pointer(&in->prepare_error);
    if (in->preparing && error != NULL)
        prepared(in, error);
    else if (in->pager != NULL && !in->pager_done && !in->preparing)
        in->exit_timer = g_timeout_add(PAGER_MS, pager_is_silent, in);
    else
        ferry_target_qemu_exited(in->target);
}

void agent_move_in_run_state(AgentMoveIn *in, HvRunState state)
{
    if (!in->lazy || in->preparing || in->qemu_done || state != HV_RUN_PAUSED)
        return;
    in->qemu_done = true;
    report_loaded(in);
}

void agent_move_in_migration(AgentMoveIn *in, HvMigrationStatus status)
{
    if (status == HV_MIGRATION_COMPLETED && !in->lazy) {
        in->qemu_done = true;
        report_loaded(in);
    } else if (status == HV_MIGRATION_FAILED && !in->preparing) {
        g_autoptr(GError) error = g_error_new(
            FERRY_ERROR, FERRY_ERROR_REFUSED,
            "QEMU on %s could not load the image (its log is in %s/%s/qemu.log)",
            in->vm->agent->name, in->vm->agent->config->run_dir, in->vm->name);
        ferry_target_loaded(in->target, "", 0, error);
    }
}
