// SPDX-License-Identifier: GPL-2.0-or-later
// The target side of a move, and a restore from a saved image (no source). Event driven, one
// thread, no I/O of its own.
#pragma once

#include "migrate/move.h"

typedef struct FerryTarget FerryTarget;

typedef enum {
    FERRY_TARGET_RUNNING,     // committed, the guest runs here
    FERRY_TARGET_ABORTED,     // nothing was committed, QEMU here is proven gone
    FERRY_TARGET_QUARANTINED, // as aborted, and the image was marked as not loadable
    FERRY_TARGET_LOST,        // committed, but QEMU died: the VM has to be started cold
} FerryTargetOutcome;

typedef struct {
    int64_t (*now_us)(void *env);
    void (*set_timer)(void *env, unsigned ms); // 0 = off; one timer; ferry_target_timer
    void (*send)(void *env, const FerryMessage *message); // to the source; not called for a restore
    // Checks everything the VM needs here, starts QEMU (incoming, -S) and the pager; then
    // ferry_target_prepared.
    void (*prepare)(void *env);
    void (*read_record)(void *env); // then ferry_target_read
    void (*write_record)(void *env, const FerryRecord *record, uint64_t expected);
    void (*load)(void *env, uint64_t epoch); // pager and QEMU; then ferry_target_loaded
    // Whether this node may own a VM now: quorate, not being shut down.
    bool (*may_commit)(void *env, GError **error);
    void (*cont)(void *env); // with announcement on the network; then ferry_target_continued
    // Asked when the guest runs: whether the image is still being read (a lazy load). Then the record
    // stays CONSUMED, and turning it to RUNNING is the caller's.
    bool (*still_loading)(void *env);
    void (*kill)(void *env); // QEMU and pager; ferry_target_qemu_exited proves it
    void (*phase)(void *env, FerryPhase phase);
    void (*finished)(void *env, FerryTargetOutcome outcome, const GError *error); // the last call
} FerryTargetOps;

// SOURCE NULL: a restore of whatever sealed image the area holds. NODE is this node's name, the
// new owner. Copies all.
FerryTarget *ferry_target_new(const FerryTargetOps *ops, void *env, const char *move,
                              const char *vm, const char *uuid, const char *node,
                              const char *source, uint64_t epoch);
void ferry_target_free(FerryTarget *target);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryTarget, ferry_target_free)

void ferry_target_start(FerryTarget *target);
// Gives up unless it has committed.
void ferry_target_cancel(FerryTarget *target, const char *reason);

FerryPhase ferry_target_phase(const FerryTarget *target);
bool ferry_target_committed(const FerryTarget *target);
const FerryRecord *ferry_target_record(const FerryTarget *target);
const char *ferry_target_source(const FerryTarget *target);
const char *ferry_target_move(const FerryTarget *target);

void ferry_target_message(FerryTarget *target, const FerryMessage *message);
void ferry_target_peer_left(FerryTarget *target);
void ferry_target_timer(FerryTarget *target);
void ferry_target_prepared(FerryTarget *target, const GError *error);
void ferry_target_read(FerryTarget *target, const FerryRecord *record, const GError *error);
void ferry_target_written(FerryTarget *target, const FerryRecord *record, const GError *error);
// So much was loaded of the image that the source still saves; the source learns it.
void ferry_target_ahead(FerryTarget *target, uint64_t bytes);
// MODE, a constant: "eager" or "lazy"; the source learns it.
void ferry_target_loaded(FerryTarget *target, const char *mode, uint64_t bytes_read,
                         const GError *error);
void ferry_target_continued(FerryTarget *target, const GError *error);
void ferry_target_qemu_exited(FerryTarget *target);
