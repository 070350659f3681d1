// SPDX-License-Identifier: GPL-2.0-or-later
// Whether further passes over the guest's memory make the last one smaller. Plain data in and out:
// fed with what QEMU says of its migration, it tells when no pass helps any more. No clock, no I/O.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { FERRY_PASSES_LIMIT_MS = 30 * 1000 }; // after the first pass: then no further one helps

typedef struct {
    int64_t at_ms;       // monotonic
    uint32_t passes;     // begun; 1 = the first, over all memory
    uint64_t ram_bytes;  // all of the guest's
    uint64_t sent_bytes; // since the save began
    uint64_t dirty_rate; // bytes/s, as QEMU measured it last; 0 = not yet
    uint32_t throttle;   // per cent of its CPU time taken from the guest
} FerrySample;

typedef enum {
    FERRY_PASSES_HELP,  // or it is too early to tell
    FERRY_PASSES_STALL, // the rest has not become smaller lately: a larger one has to be accepted
    FERRY_PASSES_VAIN,  // nor after throttling up to the bound: they will not help
} FerryPasses;

typedef struct {
    unsigned max_throttle; // set it, and nothing else, before the first sample
    bool begun;
    FerrySample first, last;
    FerrySample marks[2];  // for the rate: a second apart, the older one first
    FerrySample boundary;  // when the pass that is under way was first seen
    int64_t progress_ms;   // when the rest last became smaller, or the guest slower
    uint32_t stale_passes; // since then
    uint64_t best_bytes;   // the smallest pass; 0 = none yet
    // Results:
    uint64_t pass_bytes; // sent in a pass, lately; 0 = not known yet
    int64_t pass_ms;     // how long one took
    uint64_t rate; // bytes/s that went to storage over the last one or two seconds; 0 = unknown
} FerryConvergence;

FerryPasses ferry_convergence_feed(FerryConvergence *convergence, const FerrySample *sample);
// What there is to say to an admin: rates, what is left each time, throttle. The caller frees it.
char *ferry_convergence_describe(const FerryConvergence *convergence);
