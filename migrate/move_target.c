// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/move_target.h"

#include <string.h>

enum {
    RETRY_MS = 1000, // storage; `cont`
    CONT_TRIES = 5,
};

typedef enum {
#define TARGET_STATE(id, name) TARGET_##id,
#include "migrate/move_states.def"
    TARGET_N_STATES,
} TargetState;

static const char *const state_names[] = {
#define TARGET_STATE(id, name) name,
#include "migrate/move_states.def"
};

static const bool state_edges[TARGET_N_STATES][TARGET_N_STATES] = {
#define TARGET_EDGE(from, to) [TARGET_##from][TARGET_##to] = true,
#include "migrate/move_states.def"
};

struct FerryTarget {
    const FerryTargetOps *ops;
    void *env;
    TargetState state;
    FerryPhase phase;
    char *move;
    char *vm;
    char *uuid;
    char *node;
    char *source; // NULL: a restore, nobody waits for an answer
    uint64_t epoch;
    FerryRecord record; // as last seen durable; valid once record_read
    bool record_read;
    bool loaded;
    bool committed;
    bool recheck; // the source's agent left during the commit: did it take its guest back?
    bool torn; // the commit's write left a damaged slot: nobody has written since
    unsigned conts; // that failed
    bool qemu_gone;
    bool refused; // the abort's cause came up before READY
    bool corrupt; // the abort's cause is the image itself
    uint64_t bytes_read;
    const char *mode; // how the image was loaded
    GError *error; // the first thing that went wrong
};

static void set_state(FerryTarget *target, TargetState state)
{
    if (!state_edges[target->state][state])
        g_error("move %s: target %s -> %s is not in the table", target->move,
                state_names[target->state], state_names[state]);
    g_debug("move %s: target %s -> %s", target->move, state_names[target->state],
            state_names[state]);
    target->state = state;
}

static void set_phase(FerryTarget *target, FerryPhase phase)
{
    target->phase = phase;
    target->ops->phase(target->env, phase);
}

static void send_to_source(FerryTarget *target, FerryMessageType type, const char *reason)
{
    if (target->source == NULL)
        return;
    target->ops->send(target->env, &(FerryMessage){
                                       .type = type,
                                       .move = target->move,
                                       .vm = target->vm,
                                       .epoch = target->record_read ? target->record.epoch
                                                                    : target->epoch,
                                       .reason = reason,
                                       .bytes_read = target->bytes_read,
                                       .mode = target->mode,
                                   });
}

static void finish(FerryTarget *target, FerryTargetOutcome outcome)
{
    set_state(target, TARGET_FINISHED);
    target->ops->set_timer(target->env, 0);
    if (outcome == FERRY_TARGET_ABORTED || outcome == FERRY_TARGET_QUARANTINED)
        send_to_source(target,
                       target->refused ? FERRY_MESSAGE_REFUSED : FERRY_MESSAGE_ABORTED,
                       target->error != NULL ? target->error->message : NULL);
    target->ops->finished(target->env, outcome,
                          outcome == FERRY_TARGET_RUNNING ? NULL : target->error);
}

static void write_record(FerryTarget *target, TargetState state, FerryState to, bool new_epoch)
{
    g_autoptr(GError) error = NULL;
    FerryRecord next = target->record;
    const char *owner = to == FERRY_QUARANTINED ? target->record.owner : target->node;
    if (!ferry_record_advance(&next, to, new_epoch, owner, &error))
        g_error("move %s: %s", target->move, error->message);
    set_state(target, state);
    target->ops->write_record(target->env, &next, target->record.sequence);
}

// --- giving up: before the commit, or with a committed guest that cannot run ---

static void lost_after_commit(FerryTarget *target)
{
    send_to_source(target, FERRY_MESSAGE_RUNNING, target->error->message);
    finish(target, FERRY_TARGET_LOST);
}

static void after_qemu(FerryTarget *target)
{
    if (target->committed)
        lost_after_commit(target);
    else if (target->corrupt && target->source == NULL && target->record_read &&
        target->record.state == FERRY_SEALED)
        write_record(target, TARGET_QUARANTINING, FERRY_QUARANTINED, false);
    else
        finish(target, FERRY_TARGET_ABORTED);
}

static void abort_here(FerryTarget *target)
{
    set_state(target, TARGET_KILLING);
    target->ops->set_timer(target->env, 0);
    if (target->qemu_gone)
        after_qemu(target);
    else
        target->ops->kill(target->env);
}

static void fail(FerryTarget *target, const GError *error)
{
    if (target->error == NULL) {
        target->error = g_error_copy(error);
        target->corrupt = g_error_matches(error, FERRY_ERROR, FERRY_ERROR_CORRUPT);
        target->refused = target->state == TARGET_PREPARING;
    }
    if (target->state == TARGET_READY || target->state == TARGET_LOADING)
        abort_here(target);
}

void ferry_target_cancel(FerryTarget *target, const char *reason)
{
    g_autoptr(GError) error =
        g_error_new(FERRY_ERROR, FERRY_ERROR_ABORTED, "given up: %s", reason);
    fail(target, error);
}

// --- forward ---

void ferry_target_start(FerryTarget *target)
{
    set_state(target, TARGET_PREPARING);
    set_phase(target, FERRY_PHASE_REHEARSE);
    target->ops->prepare(target->env);
}

static void load(FerryTarget *target)
{
    set_state(target, TARGET_LOADING);
    set_phase(target, FERRY_PHASE_LOAD);
    target->ops->read_record(target->env);
    if (target->state == TARGET_LOADING)
        target->ops->load(target->env, target->epoch);
}

static bool record_allows(FerryTarget *target, const FerryRecord *record, GError **error)
{
    const char *wrong = NULL;
    if (strcmp(record->uuid, target->uuid) != 0)
        wrong = "it belongs to another VM";
    else if (record->state != FERRY_SEALED)
        wrong = "it is not sealed";
    else if (record->epoch != target->epoch)
        wrong = "it is of another epoch";
    else if (target->source != NULL && strcmp(record->owner, target->source) != 0)
        wrong = "another node sealed it";
    if (wrong == NULL)
        return true;
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_STATE,
                "the saved memory of %s must not be loaded: %s (state %s, epoch %" G_GUINT64_FORMAT
                ", owner %s; expected sealed, epoch %" G_GUINT64_FORMAT ")",
                target->vm, wrong, ferry_state_name(record->state), record->epoch, record->owner,
                target->epoch);
    return false;
}

// The commit. Rule 1: CONSUMED with the next epoch is durable before `cont`; from the moment this
// write starts the target never says ABORTED unless the storage itself says it did not happen.
static void commit(FerryTarget *target)
{
    g_autoptr(GError) error = NULL;
    if (!target->ops->may_commit(target->env, &error)) {
        fail(target, error);
        return;
    }
    set_phase(target, FERRY_PHASE_COMMIT);
    write_record(target, TARGET_COMMITTING, FERRY_CONSUMED, true);
}

static void commit_when_loaded(FerryTarget *target)
{
    if (target->state == TARGET_LOADING && target->record_read && target->loaded)
        commit(target);
}

static void committed(FerryTarget *target)
{
    target->committed = true;
    if (target->qemu_gone) {
        lost_after_commit(target);
        return;
    }
    set_state(target, TARGET_CONTINUING);
    target->ops->cont(target->env);
}

// --- events ---

void ferry_target_message(FerryTarget *target, const FerryMessage *message)
{
    if (message->type == FERRY_MESSAGE_SEALED && target->state == TARGET_READY) {
        target->epoch = message->epoch;
        load(target);
    } else if (message->type == FERRY_MESSAGE_ABORT) {
        ferry_target_cancel(target, message->reason != NULL ? message->reason : "source aborts");
    }
}

void ferry_target_peer_left(FerryTarget *target)
{
    // Once SEALED was heard the image is complete: only this side can bring the guest back now.
    if (target->state == TARGET_PREPARING || target->state == TARGET_READY) {
        g_autoptr(GError) error = g_error_new(FERRY_ERROR, FERRY_ERROR_LOST,
                                              "%s left before its image was sealed",
                                              target->source);
        fail(target, error);
    } else if (target->state == TARGET_COMMITTING) {
        target->recheck = true;
    }
}

// A slot that the commit itself has damaged does not mend. Where there is no QEMU to commit for any
// more, the commit has not happened.
static void commit_again(FerryTarget *target)
{
    target->torn = false;
    if (target->qemu_gone)
        abort_here(target);
    else
        write_record(target, TARGET_COMMITTING, FERRY_CONSUMED, true);
}

void ferry_target_timer(FerryTarget *target)
{
    if (target->state == TARGET_CHECKING && target->torn)
        commit_again(target);
    else if (target->state == TARGET_CHECKING)
        target->ops->read_record(target->env);
    else if (target->state == TARGET_CONTINUING)
        target->ops->cont(target->env);
}

void ferry_target_prepared(FerryTarget *target, const GError *error)
{
    if (error != NULL) { // nothing was left behind
        fail(target, error);
        finish(target, FERRY_TARGET_ABORTED);
    } else if (target->error != NULL) {
        abort_here(target);
    } else if (target->source == NULL) {
        load(target);
    } else {
        set_state(target, TARGET_READY);
        set_phase(target, FERRY_PHASE_READY);
        send_to_source(target, FERRY_MESSAGE_READY, NULL);
    }
}

static void give_up_commit(FerryTarget *target, const FerryRecord *record)
{
    if (target->error == NULL)
        target->error = g_error_new(FERRY_ERROR, FERRY_ERROR_STATE,
                                    "the record of %s gives it to %s (%s)", target->vm,
                                    record->owner, ferry_state_name(record->state));
    abort_here(target);
}

static void checked(FerryTarget *target, const FerryRecord *record)
{
    target->record = *record;
    if (record->state == FERRY_CONSUMED && record->epoch == target->epoch + 1 &&
        strcmp(record->owner, target->node) == 0)
        committed(target);
    else
        give_up_commit(target, record);
}

void ferry_target_read(FerryTarget *target, const FerryRecord *record, const GError *error)
{
    g_autoptr(GError) refusal = NULL;
    if (target->state == TARGET_CHECKING) {
        if (error != NULL)
            target->torn = g_error_matches(error, FERRY_ERROR, FERRY_ERROR_CORRUPT);
        if (error != NULL)
            target->ops->set_timer(target->env, RETRY_MS);
        else
            checked(target, record);
    } else if (target->state == TARGET_LOADING) {
        if (error != NULL) {
            fail(target, error);
        } else if (!record_allows(target, record, &refusal)) {
            fail(target, refusal);
        } else {
            target->record = *record;
            target->record_read = true;
            commit_when_loaded(target);
        }
    } else if (target->state == TARGET_KILLING && error == NULL) { // for the quarantine
        target->record = *record;
        target->record_read = true;
    }
}

void ferry_target_written(FerryTarget *target, const FerryRecord *record, const GError *error)
{
    if (error == NULL)
        target->record = *record;
    switch (target->state) {
    case TARGET_COMMITTING:
        if (error == NULL && !target->recheck) {
            committed(target);
            break;
        }
        if (error != NULL && target->error == NULL)
            target->error = g_error_copy(error);
        set_state(target, TARGET_CHECKING);
        target->ops->read_record(target->env);
        break;
    case TARGET_SETTLING: // CONSUMED says as much as RUNNING if this write failed
        finish(target, target->qemu_gone ? FERRY_TARGET_LOST : FERRY_TARGET_RUNNING);
        break;
    case TARGET_QUARANTINING:
        finish(target, error == NULL ? FERRY_TARGET_QUARANTINED : FERRY_TARGET_ABORTED);
        break;
    default:
        break;
    }
}

void ferry_target_ahead(FerryTarget *target, uint64_t bytes)
{
    if (target->state != TARGET_READY)
        return;
    target->bytes_read = bytes;
    send_to_source(target, FERRY_MESSAGE_AHEAD, NULL);
    target->bytes_read = 0;
}

void ferry_target_loaded(FerryTarget *target, const char *mode, uint64_t bytes_read,
                         const GError *error)
{
    if (error != NULL && (target->state == TARGET_READY || target->state == TARGET_LOADING))
        fail(target, error); // what reads along may fail before the seal: the source runs on then
    if (error != NULL || target->state != TARGET_LOADING)
        return;
    target->bytes_read = bytes_read;
    target->mode = mode;
    target->loaded = true;
    commit_when_loaded(target);
}

// After the commit the guest's memory is nowhere else: a `cont` that failed for a lock or a slow
// storage is tried again before it is given up.
void ferry_target_continued(FerryTarget *target, const GError *error)
{
    if (error != NULL && !target->qemu_gone && ++target->conts < CONT_TRIES) {
        target->ops->set_timer(target->env, RETRY_MS);
        return;
    }
    if (error != NULL && target->error == NULL)
        target->error = g_error_copy(error);
    if (target->qemu_gone) {
        lost_after_commit(target);
        return;
    }
    if (error != NULL) { // it may still run, or begin to: only its end is proof
        abort_here(target);
        return;
    }
    send_to_source(target, FERRY_MESSAGE_RUNNING, NULL);
    set_phase(target, FERRY_PHASE_CLEAN);
    if (target->ops->still_loading(target->env))
        finish(target, FERRY_TARGET_RUNNING);
    else
        write_record(target, TARGET_SETTLING, FERRY_RUNNING, false);
}

void ferry_target_qemu_exited(FerryTarget *target)
{
    g_autoptr(GError) error =
        g_error_new(FERRY_ERROR, FERRY_ERROR_CHILD, "QEMU of %s ended on %s", target->vm,
                    target->node);
    target->qemu_gone = true;
    if (target->state == TARGET_KILLING)
        after_qemu(target);
    else if (target->state != TARGET_PREPARING) // there `prepare` itself answers
        fail(target, error);
}

// --- making one ---

FerryTarget *ferry_target_new(const FerryTargetOps *ops, void *env, const char *move,
                              const char *vm, const char *uuid, const char *node,
                              const char *source, uint64_t epoch)
{
    FerryTarget *target = g_new0(FerryTarget, 1);
    target->ops = ops;
    target->env = env;
    target->move = g_strdup(move);
    target->vm = g_strdup(vm);
    target->uuid = g_strdup(uuid);
    target->node = g_strdup(node);
    target->source = g_strdup(source);
    target->epoch = epoch;
    return target;
}

void ferry_target_free(FerryTarget *target)
{
    if (target == NULL)
        return;
    g_free(target->move);
    g_free(target->vm);
    g_free(target->uuid);
    g_free(target->node);
    g_free(target->source);
    g_clear_error(&target->error);
    g_free(target);
}

FerryPhase ferry_target_phase(const FerryTarget *target)
{
    return target->phase;
}

bool ferry_target_committed(const FerryTarget *target)
{
    return target->committed;
}

const FerryRecord *ferry_target_record(const FerryTarget *target)
{
    return &target->record;
}

const char *ferry_target_source(const FerryTarget *target)
{
    return target->source;
}

const char *ferry_target_move(const FerryTarget *target)
{
    return target->move;
}
