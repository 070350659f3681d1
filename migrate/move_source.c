// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/move_source.h"

#include <string.h>

typedef enum {
#define SOURCE_STATE(id, name) SOURCE_##id,
#include "migrate/move_states.def"
    SOURCE_N_STATES,
} SourceState;

static const char *const state_names[] = {
#define SOURCE_STATE(id, name) name,
#include "migrate/move_states.def"
};

static const bool state_edges[SOURCE_N_STATES][SOURCE_N_STATES] = {
#define SOURCE_EDGE(from, to) [SOURCE_##from][SOURCE_##to] = true,
#include "migrate/move_states.def"
};

struct FerrySource {
    const FerrySourceOps *ops;
    void *env;
    SourceState state;
    FerryPhase phase;
    FerryRecord record; // as last seen durable
    char *move;
    char *peer; // NULL: a plain save
    char *definition;
    bool go;
    bool flushed;       // the saver is done
    bool migrated;      // QEMU is done
    bool qemu_gone;
    GError *error; // the first thing that went wrong
    GError *lost;  // the target committed, but its guest ended
    FerryImage image;
    FerrySourceTimes times;
};

static void set_state(FerrySource *source, SourceState state)
{
    if (!state_edges[source->state][state])
        g_error("move %s: source %s -> %s is not in the table", source->move,
                state_names[source->state], state_names[state]);
    g_debug("move %s: source %s -> %s", source->move, state_names[source->state],
            state_names[state]);
    source->state = state;
}

static void set_phase(FerrySource *source, FerryPhase phase)
{
    source->phase = phase;
    source->ops->phase(source->env, phase);
}

static void send_to_target(FerrySource *source, FerryMessageType type, const char *reason)
{
    if (source->peer == NULL)
        return;
    source->ops->send(source->env, &(FerryMessage){
                                       .type = type,
                                       .move = source->move,
                                       .vm = source->record.vm,
                                       .epoch = source->record.epoch,
                                       .definition = source->definition,
                                       .machine = source->record.machine,
                                       .qemu_version = source->record.qemu_version,
                                       .reason = reason,
                                   });
}

static void finish(FerrySource *source, FerrySourceOutcome outcome)
{
    set_state(source, SOURCE_FINISHED);
    source->ops->set_timer(source->env, 0);
    bool good = outcome == FERRY_SOURCE_MOVED || outcome == FERRY_SOURCE_SAVED;
    source->ops->finished(source->env, outcome, good ? source->lost : source->error);
}

static void remember_error(FerrySource *source, const GError *error)
{
    if (source->error == NULL)
        source->error = g_error_copy(error);
}

// --- writing the record ---

static void write_record(FerrySource *source, SourceState state, FerryState to, bool new_epoch)
{
    g_autoptr(GError) error = NULL;
    FerryRecord next = source->record;
    if (!ferry_record_advance(&next, to, new_epoch, next.owner, &error))
        g_error("move %s: %s", source->move, error->message);
    if (to == FERRY_SAVING || to == FERRY_SEALED)
        g_strlcpy(next.peer, source->peer != NULL ? source->peer : "", sizeof(next.peer));
    if (to == FERRY_SEALED)
        next.image = source->image;
    set_state(source, state);
    source->ops->write_record(source->env, &next, source->record.sequence);
}

// --- forward: rehearse, save, seal, wait ---

static void begin_save(FerrySource *source)
{
    source->ops->set_timer(source->env, 0);
    set_phase(source, FERRY_PHASE_SAVE);
    write_record(source, SOURCE_WRITING_SAVING, FERRY_SAVING, false);
}

void ferry_source_start(FerrySource *source)
{
    source->times.started_us = source->ops->now_us(source->env);
    if (source->peer == NULL) {
        begin_save(source);
        return;
    }
    set_state(source, SOURCE_REHEARSING);
    set_phase(source, FERRY_PHASE_REHEARSE);
    source->ops->set_timer(source->env, FERRY_REHEARSE_MS);
    send_to_target(source, FERRY_MESSAGE_REHEARSE, NULL);
}

void ferry_source_recover(FerrySource *source)
{
    source->times.started_us = source->ops->now_us(source->env);
    set_state(source, SOURCE_WAITING);
    set_phase(source, FERRY_PHASE_COMMIT);
    source->ops->set_timer(source->env, FERRY_ASK_AGAIN_MS);
    send_to_target(source, FERRY_MESSAGE_ABORT, "the source's agent was restarted");
}

void ferry_source_go(FerrySource *source)
{
    source->go = true;
    if (source->state == SOURCE_READY) {
        source->times.started_us = source->ops->now_us(source->env);
        begin_save(source);
    }
}

static void target_is_ready(FerrySource *source)
{
    if (source->go) {
        begin_save(source);
        return;
    }
    set_state(source, SOURCE_READY);
    source->ops->set_timer(source->env, FERRY_READY_MS);
    set_phase(source, FERRY_PHASE_READY);
}

static void seal_when_complete(FerrySource *source)
{
    if (source->state != SOURCE_SAVING || !source->flushed || !source->migrated)
        return;
    write_record(source, SOURCE_WRITING_SEALED, FERRY_SEALED, false);
}

static void quit_here(FerrySource *source)
{
    if (source->qemu_gone) {
        finish(source, source->peer != NULL ? FERRY_SOURCE_MOVED : FERRY_SOURCE_SAVED);
        return;
    }
    set_phase(source, FERRY_PHASE_CLEAN);
    set_state(source, SOURCE_QUITTING);
    source->ops->quit(source->env);
}

static void sealed(FerrySource *source)
{
    source->times.sealed_us = source->ops->now_us(source->env);
    if (source->peer == NULL) {
        quit_here(source);
        return;
    }
    set_phase(source, FERRY_PHASE_LOAD);
    set_state(source, SOURCE_WAITING);
    uint64_t load_ms = FERRY_LOAD_MS + source->image.ram_bytes / FERRY_LOAD_BYTES_PER_MS;
    source->ops->set_timer(source->env, (unsigned)MIN(load_ms, G_MAXINT));
    send_to_target(source, FERRY_MESSAGE_SEALED, NULL);
}

static void target_owns_it(FerrySource *source, uint64_t held_us)
{
    if (source->times.running_us == 0)
        source->times.running_us = source->ops->now_us(source->env) - (int64_t)held_us;
    source->ops->set_timer(source->env, 0);
    quit_here(source);
}

// --- backward: the guest runs on here ---

static void read_record(FerrySource *source)
{
    if (source->qemu_gone) {
        finish(source, FERRY_SOURCE_LOST);
        return;
    }
    set_state(source, SOURCE_READING);
    set_phase(source, FERRY_PHASE_RETURN);
    source->ops->set_timer(source->env, 0);
    source->ops->read_record(source->env);
}

static void fail(FerrySource *source, const GError *error)
{
    remember_error(source, error);
    switch (source->state) {
    case SOURCE_NEW:
    case SOURCE_REHEARSING:
    case SOURCE_READY:
        send_to_target(source, FERRY_MESSAGE_ABORT, error->message);
        finish(source, FERRY_SOURCE_RUNNING_ON);
        break;
    case SOURCE_SAVING:
        set_state(source, SOURCE_ENDING_SAVE);
        source->ops->end_save(source->env);
        break;
    case SOURCE_WAITING: // only the target can say that it will not commit
        send_to_target(source, FERRY_MESSAGE_ABORT, error->message);
        source->ops->set_timer(source->env, FERRY_ASK_AGAIN_MS);
        break;
    default: // a write is under way or it is going back already: its end looks at the error
        break;
    }
}

void ferry_source_cancel(FerrySource *source, const char *reason)
{
    g_autoptr(GError) error =
        g_error_new(FERRY_ERROR, FERRY_ERROR_ABORTED, "given up: %s", reason);
    fail(source, error);
}

// An older copy took the area's place: it says nothing about this move, and is not written over. Where
// the target was never told of a seal, nobody else can have taken the guest.
static void record_is_older(FerrySource *source)
{
    g_autoptr(GError) error =
        g_error_new(FERRY_ERROR, FERRY_ERROR_STATE,
                    "the state area of %s was replaced by an older copy", source->record.vm);
    remember_error(source, error);
    if (source->record.state == FERRY_SEALED) {
        finish(source, FERRY_SOURCE_LEFT_SEALED);
    } else {
        set_state(source, SOURCE_CONTINUING);
        source->ops->cont(source->env);
    }
}

// Rules 1 to 3: an image that the target could have taken is taken back by a new epoch, which voids
// it, and only after the record itself said that nobody else has.
static void decide_by_record(FerrySource *source, const FerryRecord *record)
{
    bool ours = strcmp(record->owner, source->record.owner) == 0;
    if (ferry_record_is_older(record, &source->record)) {
        record_is_older(source);
        return;
    }
    source->record = *record;
    if (!ours) {
        target_owns_it(source, 0);
    } else if (record->state == FERRY_RUNNING) {
        set_state(source, SOURCE_CONTINUING);
        source->ops->cont(source->env);
    } else if (record->state == FERRY_SAVING || record->state == FERRY_SEALED) {
        write_record(source, SOURCE_WRITING_RUNNING, FERRY_RUNNING,
                     record->state == FERRY_SEALED);
    } else {
        g_autoptr(GError) error =
            g_error_new(FERRY_ERROR, FERRY_ERROR_STATE,
                        "the record of %s says %s here; the guest stays paused", record->vm,
                        ferry_state_name(record->state));
        remember_error(source, error);
        finish(source, FERRY_SOURCE_LEFT_SEALED);
    }
}

// --- events ---

void ferry_source_message(FerrySource *source, const FerryMessage *message)
{
    g_autoptr(GError) error = NULL;
    switch (message->type) {
    case FERRY_MESSAGE_READY:
        if (source->state == SOURCE_REHEARSING)
            target_is_ready(source);
        break;
    case FERRY_MESSAGE_REFUSED:
    case FERRY_MESSAGE_ABORTED:
        error = g_error_new(FERRY_ERROR,
                            message->type == FERRY_MESSAGE_REFUSED ? FERRY_ERROR_REFUSED
                                                                   : FERRY_ERROR_ABORTED,
                            "%s: %s", source->peer,
                            message->reason != NULL ? message->reason : "no reason given");
        if (source->state == SOURCE_WAITING) {
            remember_error(source, error);
            read_record(source);
        } else {
            fail(source, error);
        }
        break;
    case FERRY_MESSAGE_AHEAD:
        if (source->state == SOURCE_SAVING)
            source->ops->ahead(source->env, message->bytes_read);
        break;
    case FERRY_MESSAGE_RUNNING:
        if (source->state == SOURCE_WAITING) {
            source->times.target_bytes_read = message->bytes_read;
            g_strlcpy(source->times.mode, message->mode != NULL ? message->mode : "",
                      sizeof(source->times.mode));
            if (message->reason != NULL)
                source->lost = g_error_new(FERRY_ERROR, FERRY_ERROR_LOST, "%s took it over, but: %s",
                                           source->peer, message->reason);
            target_owns_it(source, message->held_us);
        }
        break;
    default:
        break;
    }
}

void ferry_source_peer_left(FerrySource *source, FerryPeerLoss loss)
{
    g_autoptr(GError) error = g_error_new(
        FERRY_ERROR, FERRY_ERROR_LOST, "%s: %s", source->peer,
        loss == FERRY_PEER_NODE_LEFT ? "the node was lost" : "its vmferryd ended");
    if (source->state != SOURCE_WAITING) {
        fail(source, error);
        return;
    }
    remember_error(source, error);
    if (loss == FERRY_PEER_PROCESS_LEFT)
        read_record(source); // it wrote the commit or never will: what is there now is final
    else
        finish(source, FERRY_SOURCE_LEFT_SEALED);
}

void ferry_source_timer(FerrySource *source)
{
    g_autoptr(GError) error = NULL;
    switch (source->state) {
    case SOURCE_REHEARSING:
    case SOURCE_WAITING:
        error = g_error_new(FERRY_ERROR, FERRY_ERROR_TIMEOUT, "%s: no answer in time",
                            source->peer);
        fail(source, error);
        break;
    case SOURCE_READY:
        error =
            g_error_new(FERRY_ERROR, FERRY_ERROR_TIMEOUT,
                        "Pacemaker did not ask for the move within %d s; did a start fail on the "
                        "target (crm_mon; `crm resource cleanup`)?",
                        FERRY_READY_MS / 1000);
        fail(source, error);
        break;
    case SOURCE_READING:
        source->ops->read_record(source->env);
        break;
    case SOURCE_CONTINUING:
        source->ops->cont(source->env);
        break;
    default:
        break;
    }
}

static void write_failed(FerrySource *source, const GError *error)
{
    remember_error(source, error);
    if (source->state == SOURCE_WRITING_RUNNING) {
        set_state(source, SOURCE_READING);
        source->ops->set_timer(source->env, FERRY_RETRY_MS);
        return;
    }
    send_to_target(source, FERRY_MESSAGE_ABORT, error->message);
    read_record(source); // it may or may not be durable: ask the storage
}

void ferry_source_written(FerrySource *source, const FerryRecord *record, const GError *error)
{
    if (error != NULL) {
        write_failed(source, error);
        return;
    }
    source->record = *record;
    if (source->state == SOURCE_WRITING_RUNNING) {
        set_state(source, SOURCE_CONTINUING);
        source->ops->cont(source->env);
    } else if (source->error != NULL) {
        send_to_target(source, FERRY_MESSAGE_ABORT, source->error->message);
        read_record(source);
    } else if (source->state == SOURCE_WRITING_SAVING) {
        set_state(source, SOURCE_SAVING);
        source->ops->start_save(source->env, record->epoch);
    } else {
        sealed(source);
    }
}

// A slot is damaged: by a write of ours that failed, or by the target's commit, which has not happened
// then. What we know as durable still counts unless another is the newest, and then this write says so.
static void take_back_over_damage(FerrySource *source)
{
    const FerryRecord known = source->record;
    if (known.state == FERRY_SAVING || known.state == FERRY_SEALED)
        decide_by_record(source, &known);
    else
        source->ops->set_timer(source->env, FERRY_RETRY_MS);
}

void ferry_source_read(FerrySource *source, const FerryRecord *record, const GError *error)
{
    if (source->state != SOURCE_READING)
        return;
    if (error == NULL)
        decide_by_record(source, record);
    else if (g_error_matches(error, FERRY_ERROR, FERRY_ERROR_CORRUPT))
        take_back_over_damage(source);
    else
        source->ops->set_timer(source->env, FERRY_RETRY_MS);
}

void ferry_source_flushed(FerrySource *source, const FerryImage *image)
{
    source->image = *image;
    source->times.image = *image;
    source->flushed = true;
    seal_when_complete(source);
}

void ferry_source_qemu_paused(FerrySource *source)
{
    if (source->state != SOURCE_SAVING || source->times.paused_us != 0)
        return;
    source->times.paused_us = source->ops->now_us(source->env);
    set_phase(source, FERRY_PHASE_PAUSE);
}

void ferry_source_qemu_migrated(FerrySource *source)
{
    source->migrated = true;
    seal_when_complete(source);
}

void ferry_source_save_failed(FerrySource *source, const GError *error)
{
    if (source->state == SOURCE_SAVING)
        fail(source, error);
}

void ferry_source_save_ended(FerrySource *source)
{
    send_to_target(source, FERRY_MESSAGE_ABORT, source->error->message);
    read_record(source);
}

void ferry_source_continued(FerrySource *source, const GError *error)
{
    if (error != NULL)
        remember_error(source, error);
    if (error != NULL && !source->qemu_gone) { // locks of a dying target, a slow storage
        source->ops->set_timer(source->env, FERRY_RETRY_MS);
        return;
    }
    finish(source, source->qemu_gone ? FERRY_SOURCE_LOST : FERRY_SOURCE_RUNNING_ON);
}

void ferry_source_qemu_exited(FerrySource *source)
{
    source->qemu_gone = true;
    g_autoptr(GError) error =
        g_error_new(FERRY_ERROR, FERRY_ERROR_LOST, "QEMU ended during the move");
    switch (source->state) {
    case SOURCE_QUITTING:
        finish(source, source->peer != NULL ? FERRY_SOURCE_MOVED : FERRY_SOURCE_SAVED);
        break;
    case SOURCE_REHEARSING:
    case SOURCE_READY:
        remember_error(source, error);
        send_to_target(source, FERRY_MESSAGE_ABORT, error->message);
        finish(source, FERRY_SOURCE_LOST);
        break;
    case SOURCE_READING:
        remember_error(source, error);
        finish(source, FERRY_SOURCE_LOST);
        break;
    case SOURCE_SAVING:
        if (!source->migrated)
            fail(source, error); // which may be the end of SOURCE
        else
            remember_error(source, error);
        break;
    default: // saver, storage, target or `cont` will answer, and then it is looked at
        remember_error(source, error);
        break;
    }
}

// --- making one ---

FerrySource *ferry_source_new(const FerrySourceOps *ops, void *env, const char *move,
                              const FerryRecord *record, const char *peer, const char *definition)
{
    FerrySource *source = g_new0(FerrySource, 1);
    source->ops = ops;
    source->env = env;
    source->record = *record;
    source->image = record->image;
    source->move = g_strdup(move);
    source->peer = g_strdup(peer);
    source->definition = g_strdup(definition);
    return source;
}

void ferry_source_free(FerrySource *source)
{
    if (source == NULL)
        return;
    g_free(source->move);
    g_free(source->peer);
    g_free(source->definition);
    g_clear_error(&source->error);
    g_clear_error(&source->lost);
    g_free(source);
}

FerryPhase ferry_source_phase(const FerrySource *source)
{
    return source->phase;
}

const FerrySourceTimes *ferry_source_times(const FerrySource *source)
{
    return &source->times;
}

const FerryRecord *ferry_source_record(const FerrySource *source)
{
    return &source->record;
}

const char *ferry_source_peer(const FerrySource *source)
{
    return source->peer;
}

const char *ferry_source_move(const FerrySource *source)
{
    return source->move;
}
