// SPDX-License-Identifier: GPL-2.0-or-later
// How long the blackout is going to be, told before the guest is paused: what is still to be
// written then, at the storage's rate, and what every move needs besides (device state, seal, load,
// commit), which is learnt from earlier moves. Plain data in and out.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// What moves need besides writing; {0} before the first.
typedef struct {
    unsigned moves;
    double mean_ms;
    double spread_ms; // mean distance from the mean
} FerryOverhead;

typedef struct {
    uint64_t rest_bytes;    // what a pass sends, lately; 0 = not known
    uint64_t pending_bytes; // taken from QEMU, but not on storage yet
    uint64_t rate;          // bytes/s to storage; 0 = not known
    uint64_t load_bytes; // read before the guest runs again, where no move told how long that takes
    unsigned limit_ms;   // the downtime limit QEMU works with
    bool forced;         // the guest is paused whatever is left
} FerryRest;

typedef struct {
    double ms;
    double margin_ms;
} FerryForecast;

FerryForecast ferry_forecast(const FerryRest *rest, const FerryOverhead *overhead);
// Learns from a move: REST as it was forecast with, BLACKOUT_MS as it was measured.
void ferry_overhead_learn(FerryOverhead *overhead, const FerryRest *rest, double blackout_ms);

// QEMU's downtime limit. As long as passes help, a small part of MAX_BLACKOUT_MS; when they stall
// (WHOLE), all that the overhead and the pending bytes leave of it. Never 0.
unsigned ferry_downtime_limit(unsigned max_blackout_ms, const FerryRest *rest,
                              const FerryOverhead *overhead, bool whole);
