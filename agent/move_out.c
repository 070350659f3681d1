// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/move_out.h"

#include "agent/guest_time.h"
#include "agent/load.h"
#include "agent/messages.h"
#include "agent/migrate.h"
#include "agent/pace.h"
#include "agent/stay.h"
#include "agent/status.h"
#include "migrate/saver.h"

#include <string.h>

enum {
    POLL_MS = 100,
    SAVER_MS = 300, // between QEMU's "failed" and the saver's reason
};

struct AgentMoveOut {
    AgentVm *vm;
    FerrySource *source;
    FerrySaver *saver;
    AgentJob *job;
    AgentPace *pace;
    bool own_job; // nobody else follows it: it ends with the move
    bool asked;   // by Pacemaker: its migrate_to waits for the end
    char *socket;
    FerrySaverProgress progress;
    bool ending;      // end_save was asked for
    guint timer;      // the source's
    guint poll_timer; // while saving
    guint quit_timer;
    guint fail_timer; // QEMU said failed: the saver may know better why
};

// --- operations the source asks for ---

static int64_t now_us(void *env)
{
    (void)env;
    return g_get_monotonic_time();
}

static gboolean timer_fired(gpointer data)
{
    AgentMoveOut *out = data;
    out->timer = 0;
    ferry_source_timer(out->source);
    return G_SOURCE_REMOVE;
}

static void set_timer(void *env, unsigned ms)
{
    AgentMoveOut *out = env;
    g_clear_handle_id(&out->timer, g_source_remove);
    if (ms != 0)
        out->timer = g_timeout_add(ms, timer_fired, out);
}

static void send_message(void *env, const FerryMessage *message)
{
    AgentMoveOut *out = env;
    agent_messages_send_move(out->vm->agent, ferry_source_peer(out->source), message);
}

static void written(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)data;
    if (vm->out == NULL)
        return;
    g_autoptr(GError) ignored = NULL;
    if (error == NULL && vm->hv != NULL && hv_vm_process_alive(vm->hv) &&
        !hv_vm_set_epoch(vm->hv, record->epoch, &ignored))
        g_warning("VM %s: %s", vm->name, ignored->message);
    ferry_source_written(vm->out->source, record, error);
}

static void write_record(void *env, const FerryRecord *record, uint64_t expected)
{
    AgentMoveOut *out = env;
    agent_record_write(out->vm, record, expected, written, NULL);
}

static void was_read(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)data;
    if (vm->out != NULL)
        ferry_source_read(vm->out->source, record, error);
}

static void read_record(void *env)
{
    AgentMoveOut *out = env;
    agent_record_read(out->vm, was_read, NULL);
}

static void continued(HvVm *hv, const GError *error, gpointer data)
{
    AgentVm *vm = data;
    if (error != NULL && hv_vm_run_state(hv) == HV_RUN_SHUTDOWN)
        hv_vm_quit(hv, NULL, NULL); // its guest powered itself off meanwhile
    if (vm->out != NULL)
        ferry_source_continued(vm->out->source, error);
}

static void cont(void *env)
{
    AgentMoveOut *out = env;
    hv_vm_cont(out->vm->hv, continued, out->vm);
}

static gboolean quit_is_late(gpointer data)
{
    AgentMoveOut *out = data;
    out->quit_timer = 0;
    hv_vm_kill(out->vm->hv, NULL);
    return G_SOURCE_REMOVE;
}

static void quit(void *env)
{
    AgentMoveOut *out = env;
    hv_vm_quit(out->vm->hv, NULL, NULL);
    out->quit_timer = g_timeout_add(AGENT_MOVE_QUIT_MS, quit_is_late, out);
}

// --- saving ---

static void stop_polling(AgentMoveOut *out)
{
    g_clear_handle_id(&out->poll_timer, g_source_remove);
}

static void saver_failed(FerrySaver *saver, const GError *error, gpointer data)
{
    (void)saver;
    AgentMoveOut *out = data;
    stop_polling(out);
    ferry_source_save_failed(out->source, error);
}

static void save_begun(HvVm *hv, const GError *error, gpointer data)
{
    (void)hv;
    AgentVm *vm = data;
    if (error != NULL && vm->out != NULL)
        ferry_source_save_failed(vm->out->source, error);
}

static void saver_listens(FerrySaver *saver, gpointer data)
{
    (void)saver;
    AgentMoveOut *out = data;
    hv_vm_save(out->vm->hv, out->socket, agent_pace_begin(out->pace), save_begun, out->vm);
}

static void saver_progress(FerrySaver *saver, const FerrySaverProgress *progress, gpointer data)
{
    (void)saver;
    AgentMoveOut *out = data;
    out->progress = *progress;
    agent_pace_saver(out->pace, progress);
    agent_job_progress(out->job, progress->bytes_written, progress->ram_bytes);
}

static void saver_flushed(FerrySaver *saver, const FerryImage *image,
                          const FerrySaverProgress *progress, gpointer data)
{
    AgentMoveOut *out = data;
    stop_polling(out);
    saver_progress(saver, progress, data);
    ferry_source_flushed(out->source, image);
}

static const FerrySaverEvents saver_events = {
    .listening = saver_listens,
    .progress = saver_progress,
    .flushed = saver_flushed,
    .failed = saver_failed,
};

static void pause_it(AgentMoveOut *out)
{
    g_autofree char *figures = agent_pace_describe(out->pace);
    agent_pace_force(out->pace);
    g_autofree char *expected = agent_pace_text(out->pace);
    json_t *details = json_object();
    agent_pace_tell(out->pace, details);
    agent_events_add(out->vm->agent->events, "warning", "move.forced", out->vm->name, details,
                     "no further pass over the memory of %s helps: %s; it is paused for the last "
                     "one%s%s",
                     out->vm->name, figures, expected != NULL ? ", " : "",
                     expected != NULL ? expected : "");
    hv_vm_pause(out->vm->hv, NULL, NULL);
}

static void give_up(AgentMoveOut *out)
{
    g_autofree char *figures = agent_pace_describe(out->pace);
    g_autoptr(GError) error = g_error_new(
        FERRY_ERROR, FERRY_ERROR_ABORTED,
        "%s changes its memory too fast for its state area (%s), and its \"convergence\" is "
        "\"abort\"; move it at a quieter time, allow a larger max_blackout_ms or "
        "max_throttle_percent, or set it to \"force\"",
        out->vm->name, figures);
    ferry_source_save_failed(out->source, error);
}

static void held(AgentVm *vm, const GError *error, gpointer data)
{
    (void)data;
    AgentMoveOut *out = vm->out;
    if (out == NULL || ferry_source_phase(out->source) != FERRY_PHASE_SAVE)
        return;
    if (error == NULL) {
        give_up(out);
        return;
    }
    g_warning("VM %s: Pacemaker would stop it for a move that is given up: %s", vm->name,
              error->message);
    pause_it(out);
}

// Only a move that an admin asked for can be given up: a stop has to end, and where Pacemaker by
// itself wants the VM away it would stop it next.
static void no_pass_helps(AgentMoveOut *out)
{
    g_autoptr(HvDefinition) wanted = agent_vm_wanted(out->vm);
    stop_polling(out);
    if (wanted->convergence == HV_CONVERGENCE_ABORT && !out->own_job)
        agent_stay_begin(out->vm, held, NULL);
    else
        pause_it(out);
}

static void progress_known(HvVm *hv, const HvMigration *migration, const GError *error,
                           gpointer data)
{
    (void)hv;
    AgentVm *vm = data;
    AgentMoveOut *out = vm->out;
    if (out == NULL || error != NULL || out->poll_timer == 0 ||
        migration->status != HV_MIGRATION_ACTIVE)
        return;
    if (!agent_pace_sample(out->pace, migration))
        no_pass_helps(out);
}

static gboolean poll_migration(gpointer data)
{
    AgentMoveOut *out = data;
    if (hv_vm_process_alive(out->vm->hv))
        hv_vm_query_migration(out->vm->hv, progress_known, out->vm);
    return G_SOURCE_CONTINUE;
}

static void start_save(void *env, uint64_t epoch)
{
    AgentMoveOut *out = env;
    AgentVm *vm = out->vm;
    g_autoptr(GError) error = NULL;
    out->saver = ferry_saver_start(vm->agent->config->libexec_dir, vm->definition->state_area,
                                   out->socket, epoch, &saver_events, out, &error);
    if (out->saver == NULL) {
        ferry_source_save_failed(out->source, error);
        return;
    }
    out->poll_timer = g_timeout_add(POLL_MS, poll_migration, out);
}

static void ahead(void *env, uint64_t bytes)
{
    AgentMoveOut *out = env;
    if (out->saver != NULL)
        ferry_saver_ahead(out->saver, bytes);
}

static void save_ended(HvVm *hv, const GError *error, gpointer data)
{
    (void)hv;
    (void)error; // whatever it was, it is over
    AgentVm *vm = data;
    if (vm->out != NULL)
        ferry_source_save_ended(vm->out->source);
}

static void end_save(void *env)
{
    AgentMoveOut *out = env;
    out->ending = true;
    stop_polling(out);
    g_clear_pointer(&out->saver, ferry_saver_free);
    if (hv_vm_process_alive(out->vm->hv))
        hv_vm_save_end(out->vm->hv, save_ended, out->vm);
    else
        ferry_source_save_ended(out->source);
}

// --- telling how it goes ---

static void tell_phase(AgentMoveOut *out, FerryPhase now)
{
    json_t *details =
        json_pack("{s:s, s:s*, s:s}", "phase", ferry_phase_name(now), "to",
                  ferry_source_peer(out->source), "move", ferry_source_move(out->source));
    g_autofree char *expected = NULL;
    if (now == FERRY_PHASE_PAUSE) {
        expected = agent_pace_text(out->pace);
        agent_pace_tell(out->pace, details);
    }
    agent_events_add(out->vm->agent->events, "info", "move.phase", out->vm->name, details,
                     "%s: %s%s%s", out->vm->name, ferry_phase_name(now),
                     expected != NULL ? ", " : "", expected != NULL ? expected : "");
}

static void phase(void *env, FerryPhase now)
{
    AgentMoveOut *out = env;
    if (now == FERRY_PHASE_PAUSE)
        agent_outbox_quiet(out->vm->agent->outbox, AGENT_QUIET_MS);
    agent_job_phase(out->job, ferry_phase_name(now));
    tell_phase(out, now);
    agent_status_changed(out->vm->agent);
    if (now == FERRY_PHASE_READY)
        agent_migrate_ready(out->vm);
}

static double ms_between(int64_t from_us, int64_t to_us)
{
    return from_us == 0 || to_us == 0 ? 0 : (double)(to_us - from_us) / 1000.0;
}

static json_t *result_of(AgentMoveOut *out)
{
    const FerrySourceTimes *times = ferry_source_times(out->source);
    const char *peer = ferry_source_peer(out->source);
    int64_t end_us = peer != NULL ? times->running_us : g_get_monotonic_time();
    double blackout_ms = ms_between(times->paused_us, times->running_us);
    json_t *result = json_pack(
        "{s:s, s:s, s:o, s:s, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:i, s:I}", "move",
        ferry_source_move(out->source), "from", out->vm->agent->name, "to",
        peer != NULL ? json_string(peer) : json_null(), "mode", peer == NULL ? "save" : times->mode,
        "blackout_ms", blackout_ms, "total_ms", ms_between(times->started_us, end_us), "pause_ms",
        ms_between(times->paused_us, times->sealed_us), "load_ms",
        ms_between(times->sealed_us, times->running_us), "bytes_written",
        (json_int_t)out->progress.bytes_written, "bytes_read", (json_int_t)times->target_bytes_read,
        "ram_bytes", (json_int_t)times->image.ram_bytes, "pages_present",
        (json_int_t)out->progress.pages_present, "pages_zero", (json_int_t)out->progress.pages_zero,
        "passes", (int)times->image.passes, "epoch",
        (json_int_t)ferry_source_record(out->source)->epoch);
    agent_pace_end(out->pace, blackout_ms, times->mode, result);
    return result;
}

// "blackout 53 ms (expected 40 ms +- 10 ms)"
static char *blackout_text(json_t *result)
{
    json_t *expected = json_object_get(result, "expected_blackout_ms");
    g_autofree char *actual = g_strdup_printf(
        "blackout %.0f ms", json_number_value(json_object_get(result, "blackout_ms")));
    if (!json_is_number(expected))
        return g_steal_pointer(&actual);
    return g_strdup_printf(
        "%s (expected %.0f ms +- %.0f ms)", actual, json_number_value(expected),
        json_number_value(json_object_get(result, "expected_blackout_margin_ms")));
}

static void tell_end(AgentMoveOut *out, FerrySourceOutcome outcome, const GError *error,
                     json_t *result)
{
    AgentVm *vm = out->vm;
    AgentEvents *events = vm->agent->events;
    const char *peer = ferry_source_peer(out->source);
    g_autofree char *blackout = blackout_text(result);
    switch (outcome) {
    case FERRY_SOURCE_MOVED:
        if (error != NULL) {
            agent_events_add(events, "error", "move.lost", vm->name, NULL,
                             "%s moved from %s to %s, but did not stay: %s", vm->name,
                             vm->agent->name, peer, error->message);
            break;
        }
        agent_events_add(events, "info", "move.done", vm->name, json_incref(result),
                         "%s moved from %s to %s, %s", vm->name, vm->agent->name, peer, blackout);
        break;
    case FERRY_SOURCE_SAVED:
        agent_events_add(events, "info", "vm.saved", vm->name, json_incref(result),
                         "the memory of %s is saved", vm->name);
        break;
    case FERRY_SOURCE_RUNNING_ON:
        agent_events_add(events, "warning", "move.given-up", vm->name, NULL,
                         "%s runs on, on %s: %s", vm->name, vm->agent->name,
                         error != NULL ? error->message : "given up");
        break;
    case FERRY_SOURCE_LEFT_SEALED:
        agent_events_add(events, "error", "move.target-lost", vm->name, NULL,
                         "%s is paused on %s behind its sealed image: %s; Pacemaker starts it from "
                         "the image once the target is fenced",
                         vm->name, vm->agent->name, error != NULL ? error->message : "");
        break;
    case FERRY_SOURCE_LOST:
        agent_events_add(events, "error", "vm.died", vm->name, NULL, "%s: %s", vm->name,
                         error != NULL ? error->message : "QEMU ended during the move");
        break;
    }
}

static void conclude(AgentVm *vm, FerrySourceOutcome outcome)
{
    bool unasked = g_queue_is_empty(&vm->stops); // else it was Pacemaker who wanted its end
    switch (outcome) {
    case FERRY_SOURCE_MOVED:
    case FERRY_SOURCE_SAVED:
        agent_vm_detach(vm);
        agent_vm_set_state(vm, AGENT_VM_ABSENT);
        break;
    case FERRY_SOURCE_RUNNING_ON:
        agent_vm_set_state(vm, AGENT_VM_RUNNING);
        break;
    case FERRY_SOURCE_LEFT_SEALED:
        if (!hv_vm_process_alive(vm->hv))
            agent_vm_detach(vm);
        agent_vm_set_state(vm, vm->hv != NULL ? AGENT_VM_STRANDED : AGENT_VM_ABSENT);
        break;
    case FERRY_SOURCE_LOST:
        agent_vm_detach(vm);
        agent_vm_set_state(vm, AGENT_VM_ABSENT);
        if (unasked)
            agent_pacemaker_fail(vm->agent->pacemaker, vm->name, vm->agent->name, NULL, NULL);
        break;
    }
}

static void stays(AgentVm *vm, const GError *error, gpointer data)
{
    g_autoptr(GError) failure = data;
    if (error != NULL)
        g_warning("VM %s: Pacemaker recovers it from its failed move: %s", vm->name,
                  error->message);
    agent_stay_end(vm, error == NULL);
    agent_vm_wake(vm, &vm->departs, failure);
}

// Where an admin's move has failed and the guest runs on, Pacemaker need not recover anything.
static bool can_stay(const AgentMoveOut *out, FerrySourceOutcome outcome)
{
    return outcome == FERRY_SOURCE_RUNNING_ON && out->asked && !out->own_job &&
           out->vm->stay == NULL && g_queue_is_empty(&out->vm->stops);
}

static void finished(void *env, FerrySourceOutcome outcome, const GError *error)
{
    AgentMoveOut *out = env;
    AgentVm *vm = out->vm;
    g_autoptr(GError) failure = NULL;
    json_t *result = result_of(out);
    if (error != NULL || (outcome != FERRY_SOURCE_MOVED && outcome != FERRY_SOURCE_SAVED))
        failure = error != NULL ? g_error_copy(error)
                                : g_error_new(FERRY_ERROR, FERRY_ERROR_ABORTED, "given up");
    tell_end(out, outcome, error, result);
    if (failure == NULL) {
        json_decref(vm->last_move);
        vm->last_move = json_incref(result);
    }
    if (out->own_job)
        agent_job_end(out->job, failure, failure == NULL ? json_incref(result) : NULL);
    json_decref(result);
    vm->out = NULL;
    bool stay = can_stay(out, outcome);
    conclude(vm, outcome);
    if (ferry_source_times(out->source)->paused_us != 0)
        agent_guest_time_begin(vm);
    if (stay) {
        agent_stay_begin(vm, stays, g_steal_pointer(&failure));
    } else {
        agent_stay_end(vm, outcome == FERRY_SOURCE_RUNNING_ON);
        agent_vm_wake(vm, &vm->departs, failure);
    }
    agent_move_out_free(out);
}

static const FerrySourceOps source_ops = {
    .now_us = now_us,
    .set_timer = set_timer,
    .send = send_message,
    .write_record = write_record,
    .read_record = read_record,
    .start_save = start_save,
    .ahead = ahead,
    .end_save = end_save,
    .cont = cont,
    .quit = quit,
    .phase = phase,
    .finished = finished,
};

// --- making one ---

static AgentMoveOut *new_out(AgentVm *vm, const char *peer, AgentJob *job)
{
    g_autofree char *move = agent_new_id(vm->agent);
    g_autofree char *definition = hv_definition_to_json(vm->definition);
    AgentMoveOut *out = g_new0(AgentMoveOut, 1);
    out->vm = vm;
    out->own_job = job == NULL;
    out->job = job != NULL ? job : agent_load_take_job(vm);
    if (out->job == NULL)
        out->job = agent_job_start(vm->agent->jobs, peer != NULL ? "migrate" : "save", vm->name);
    out->pace = agent_pace_new(vm, peer, out->job);
    out->socket = g_build_filename(vm->agent->config->run_dir, vm->name, "saver.sock", NULL);
    out->source = ferry_source_new(&source_ops, out, move, &vm->record, peer, definition);
    vm->out = out;
    agent_vm_set_state(vm, AGENT_VM_LEAVING);
    return out;
}

static bool can_leave(AgentVm *vm, GError **error)
{
    if (vm->state != AGENT_VM_RUNNING) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT, "%s is %s on %s, not running",
                    vm->name, agent_vm_state_name(vm->state), vm->agent->name);
        return false;
    }
    if (vm->record.state != FERRY_RUNNING) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT,
                    "the run record of %s says %s; its memory cannot be saved now", vm->name,
                    ferry_state_name(vm->record.state));
        return false;
    }
    return true;
}

bool agent_move_out_rehearse(AgentVm *vm, const char *peer, AgentJob *job, GError **error)
{
    if (!can_leave(vm, error))
        return false;
    if (!agent_cluster_has(vm->agent->cluster, peer)) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                    "%s: no vmferryd of that node is in the cluster; is it online?", peer);
        return false;
    }
    ferry_source_start(new_out(vm, peer, job)->source);
    return true;
}

bool agent_move_out_save(AgentVm *vm, GError **error)
{
    if (!can_leave(vm, error))
        return false;
    ferry_source_start(new_out(vm, NULL, NULL)->source);
    return true;
}

void agent_move_out_recover(AgentVm *vm)
{
    ferry_source_recover(new_out(vm, vm->record.peer, NULL)->source);
}

void agent_move_out_go(AgentMoveOut *out)
{
    out->asked = true;
    ferry_source_go(out->source);
}

unsigned agent_move_out_least_ms(const AgentMoveOut *out)
{
    return agent_pace_least_ms(out->pace);
}

void agent_move_out_cancel(AgentMoveOut *out, const char *reason)
{
    ferry_source_cancel(out->source, reason);
}

void agent_move_out_free(AgentMoveOut *out)
{
    if (out == NULL)
        return;
    g_clear_handle_id(&out->timer, g_source_remove);
    g_clear_handle_id(&out->quit_timer, g_source_remove);
    g_clear_handle_id(&out->fail_timer, g_source_remove);
    stop_polling(out);
    ferry_saver_free(out->saver);
    agent_pace_free(out->pace);
    ferry_source_free(out->source);
    g_free(out->socket);
    g_free(out);
}

const char *agent_move_out_peer(const AgentMoveOut *out)
{
    return ferry_source_peer(out->source);
}

bool agent_move_out_is(const AgentMoveOut *out, const char *move)
{
    return strcmp(ferry_source_move(out->source), move) == 0;
}

bool agent_move_out_ready(const AgentMoveOut *out)
{
    return ferry_source_phase(out->source) == FERRY_PHASE_READY;
}

// --- events ---

void agent_move_out_message(AgentMoveOut *out, const FerryMessage *message)
{
    ferry_source_message(out->source, message);
}

void agent_move_out_peer_left(AgentMoveOut *out, FerryPeerLoss loss)
{
    ferry_source_peer_left(out->source, loss);
}

void agent_move_out_qemu_exited(AgentMoveOut *out)
{
    g_clear_handle_id(&out->quit_timer, g_source_remove);
    ferry_source_qemu_exited(out->source);
}

void agent_move_out_run_state(AgentMoveOut *out, HvRunState state)
{
    if (state != HV_RUN_FINISH_MIGRATE && state != HV_RUN_POSTMIGRATE && state != HV_RUN_PAUSED)
        return;
    stop_polling(out); // no question to QEMU while its guest waits for it
    if (out->saver != NULL)
        ferry_saver_paused(out->saver);
    ferry_source_qemu_paused(out->source);
}

static gboolean saver_is_silent(gpointer data)
{
    AgentMoveOut *out = data;
    out->fail_timer = 0;
    g_autoptr(GError) error =
        g_error_new(FERRY_ERROR, FERRY_ERROR_STREAM, "QEMU gave up the migration to the saver");
    ferry_source_save_failed(out->source, error);
    return G_SOURCE_REMOVE;
}

void agent_move_out_migration(AgentMoveOut *out, HvMigrationStatus status)
{
    if (status == HV_MIGRATION_COMPLETED)
        ferry_source_qemu_migrated(out->source);
    else if (status == HV_MIGRATION_FAILED && !out->ending && out->fail_timer == 0)
        out->fail_timer = g_timeout_add(SAVER_MS, saver_is_silent, out);
}
