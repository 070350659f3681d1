// SPDX-License-Identifier: GPL-2.0-or-later
// The source side of a move, and a plain save (no target). Event driven, one thread, no I/O of its
// own. An operation may be answered from within its own call or later.
#pragma once

#include "migrate/move.h"

typedef struct FerrySource FerrySource;

enum {
    FERRY_REHEARSE_MS = 100 * 1000, // the target checks storage and starts QEMU
    FERRY_READY_MS = 60 * 1000,    // Pacemaker has to ask for the move within this
    FERRY_ASK_AGAIN_MS = 2 * 1000, // a target that has not answered
    FERRY_RETRY_MS = 1000,         // storage, or QEMU's `cont`
    FERRY_LOAD_MS = 30 * 1000,     // for any image, and besides
    FERRY_LOAD_BYTES_PER_MS = 50000, // what the slowest storage that anybody should use delivers
};

typedef enum {
    FERRY_SOURCE_MOVED,      // the target owns the VM, QEMU here is proven gone
    FERRY_SOURCE_SAVED,      // the image is sealed, QEMU here is proven gone
    FERRY_SOURCE_RUNNING_ON, // given up; the guest runs here as if nothing had been
    FERRY_SOURCE_LEFT_SEALED, // the target's node vanished: the image is sealed, the guest paused
    FERRY_SOURCE_LOST,       // QEMU died under the move; the record says what is left
} FerrySourceOutcome;

typedef struct {
    int64_t started_us, paused_us, sealed_us, running_us; // ops->now_us; 0 = not reached
    uint64_t target_bytes_read;
    char mode[8]; // how the target loaded, "" = not known
    FerryImage image;
} FerrySourceTimes;

typedef struct {
    int64_t (*now_us)(void *env);
    void (*set_timer)(void *env, unsigned ms); // 0 = off; one timer; ferry_source_timer
    void (*send)(void *env, const FerryMessage *message);
    // Durable, then ferry_source_written; RECORD is the wished next record, EXPECTED as in area.h.
    void (*write_record)(void *env, const FerryRecord *record, uint64_t expected);
    void (*read_record)(void *env); // then ferry_source_read
    // Saver and QEMU's outgoing migration; ferry_source_flushed and ferry_source_qemu_migrated, or
    // ferry_source_save_failed.
    void (*start_save)(void *env, uint64_t epoch);
    // The target has loaded so much of it by now: the saver need not be much faster.
    void (*ahead)(void *env, uint64_t bytes);
    // Ends saver and migration; then ferry_source_save_ended.
    void (*end_save)(void *env);
    void (*cont)(void *env); // then ferry_source_continued
    void (*quit)(void *env); // QEMU ends; ferry_source_qemu_exited proves it
    void (*phase)(void *env, FerryPhase phase);
    // The last call; ERROR (borrowed) unless MOVED or SAVED. MOVED with an error: the target has taken
    // the VM over, but its guest ended there.
    void (*finished)(void *env, FerrySourceOutcome outcome, const GError *error);
} FerrySourceOps;

// RECORD is the durable record now (RUNNING, owned here). PEER NULL: a plain save. Copies all
// but OPS.
FerrySource *ferry_source_new(const FerrySourceOps *ops, void *env, const char *move,
                              const FerryRecord *record, const char *peer,
                              const char *definition);
void ferry_source_free(FerrySource *source);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerrySource, ferry_source_free)

void ferry_source_start(FerrySource *source); // rehearses; a plain save goes on at once
// Instead of start, after the agent was restarted and found its guest paused behind a SEALED record
// with a peer: asks the target what became of the move and goes on from its answer.
void ferry_source_recover(FerrySource *source);
void ferry_source_go(FerrySource *source);    // save and move as soon as the target is ready
// Gives up if the target has not been told SEALED yet; afterwards asks the target to.
void ferry_source_cancel(FerrySource *source, const char *reason);

FerryPhase ferry_source_phase(const FerrySource *source);
const FerrySourceTimes *ferry_source_times(const FerrySource *source);
const FerryRecord *ferry_source_record(const FerrySource *source);
const char *ferry_source_peer(const FerrySource *source);
const char *ferry_source_move(const FerrySource *source);

void ferry_source_message(FerrySource *source, const FerryMessage *message);
void ferry_source_peer_left(FerrySource *source, FerryPeerLoss loss);
void ferry_source_timer(FerrySource *source);
void ferry_source_written(FerrySource *source, const FerryRecord *record, const GError *error);
void ferry_source_read(FerrySource *source, const FerryRecord *record, const GError *error);
void ferry_source_flushed(FerrySource *source, const FerryImage *image);
void ferry_source_qemu_paused(FerrySource *source);
void ferry_source_qemu_migrated(FerrySource *source);
void ferry_source_save_failed(FerrySource *source, const GError *error);
void ferry_source_save_ended(FerrySource *source);
void ferry_source_continued(FerrySource *source, const GError *error);
void ferry_source_qemu_exited(FerrySource *source);
