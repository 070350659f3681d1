// SPDX-License-Identifier: GPL-2.0-or-later
// A small world for both sides of a move: one record on storage, a queue that delivers what was
// asked for in order, and faults at a chosen step.
#pragma once

#include "migrate/move_source.h"
#include "migrate/move_target.h"

typedef enum { GUEST_NONE, GUEST_RUNNING, GUEST_PAUSED } Guest;

typedef enum {
    FAULT_NONE,
    FAULT_TARGET_REFUSES,
    FAULT_SAVE_FAILS,
    FAULT_LOAD_FAILS,
    FAULT_NO_QUORUM,
    FAULT_WRITE_FAILS_BEFORE,   // the Nth record write fails and is not on storage
    FAULT_WRITE_FAILS_AFTER,    // the Nth record write fails, but is on storage
    FAULT_TARGET_AGENT_DIES,    // at step N; its uncommitted QEMU never runs again
    FAULT_TARGET_NODE_DIES,     // at step N
    FAULT_SOURCE_QEMU_DIES,     // at step N
    FAULT_TARGET_QEMU_DIES,     // at step N
    FAULT_PAGER_DIES,           // at step N; what QEMU has is not enough to run
    FAULT_SOURCE_CANCELS,       // at step N
    FAULT_TARGET_CONT_FAILS,    // its QEMU lives
    FAULT_TARGET_CONT_FAILS_ONCE,
    FAULT_SOURCE_CONT_FAILS,    // once, after the load failed
    N_FAULTS,
} Fault;

typedef struct World {
    FerryRecord record; // on storage
    Guest source_guest, target_guest;
    FerrySource *source;       // NULL once finished
    FerryTarget *target;       // NULL before REHEARSE and once finished
    bool source_done, target_done;
    unsigned source_conts, target_conts;
    bool lazy; // the target still loads when its guest runs
    FerrySourceOutcome source_outcome;
    FerryTargetOutcome target_outcome;
    bool target_agent_dead;
    bool ever_two;      // both guests ran at the same time
    guint resumptions;  // of the sealed image
    bool resumed_stale; // something ran from an image that was void
    GQueue queue;
    Fault fault;
    guint at;     // step or write the fault is for
    guint step;
    guint writes;
    gint64 now_us;
} World;

void world_init(World *world, Fault fault, guint at);
void world_run(World *world); // until nothing is left to do, bounded
void world_clear(World *world);
