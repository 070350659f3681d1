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

// How long a save takes at the least, whatever is still to come: at the best speed that it has shown.
// {0} before the first sample.
typedef struct {
    int64_t mark_ms;
    uint64_t mark_left, mark_sent; // bytes
    uint64_t done_speed;           // bytes/s of memory that were done with, also without writing
    uint64_t sent_speed;           // bytes/s that went to storage
    int64_t at_ms;                 // the last sample
    uint64_t left, sent;
} FerrySaveSpeed;

// LEFT: memory that the pass under way still has to look at; SENT: since the save began; bytes.
void ferry_save_sample(FerrySaveSpeed *speed, int64_t at_ms, uint64_t left, uint64_t sent);
// From NOW_MS on; 0: not known, or about over. RESIDENT: bytes that the guest's process has in memory,
// and so the most that it can have to write (0: not known): the rest are zeros, which go fast.
unsigned ferry_save_least_ms(const FerrySaveSpeed *speed, int64_t now_ms, uint64_t resident);
