// SPDX-License-Identifier: GPL-2.0-or-later
// A guest's time of day against the node's, by the guest agent: measured, and set where it is wrong.
// Main-loop thread; nothing blocks.
//
// The node's time is what it is set to, whatever made the guest late: who gives a guest the agent wants
// the right time in it, and not the wrong one that it had. A clock that was stopped is behind; one that
// is ahead was so before, or the nodes' clocks differ. Time that goes back breaks what runs in a guest:
// it is set back only by what a boot may have made of it (a hardware clock has whole seconds), and not
// at all while it is right.
#pragma once

#include "agent/error.h"
#include <stdint.h>

enum {
    GUEST_CLOCK_CLOSE_MS = 20,  // behind by less: no step
    GUEST_CLOCK_RIGHT_MS = 100, // ahead by less: no step; off by more in the end: it has failed
    GUEST_CLOCK_BACK_MS = 1000, // ahead by more: nothing is done
    GUEST_CLOCK_TOTAL_MS = 120 * 1000,
    GUEST_CLOCK_STEPS = 12,  // two and two, with a rest between that triples twice
    GUEST_CLOCK_REST_MS = 2000,
    GUEST_CLOCK_SAMPLES = 5, // of which the one with the shortest way is believed
};
extern unsigned guest_clock_patience_ms; // for all of it: GUEST_CLOCK_TOTAL_MS, less in tests
extern unsigned guest_clock_rest_ms;     // the first rest: GUEST_CLOCK_REST_MS, less in tests

typedef struct GuestClock GuestClock;

typedef struct {
    int64_t before_us, after_us; // guest's time - node's
    int64_t round_trip_us;       // of the last measurement: half of it may be its error
    unsigned steps;
} GuestClockResult;

// Called once, from the main loop; may free the GuestClock. RESULT (borrowed): the guest's time is right
// within GUEST_CLOCK_RIGHT_MS; NULL with ERROR (borrowed, AGENT_ERROR): it is not, or not known to be.
typedef void (*GuestClockFn)(const GuestClockResult *result, const GError *error, gpointer data);

// By the agent behind the unix socket at PATH. NULL (HV_ERROR_CLOSED): QEMU does not listen.
GuestClock *guest_clock_set(const char *path, GuestClockFn done, gpointer data, GError **error);
// Ends it; DONE is not called any more. NULL is fine.
void guest_clock_free(GuestClock *clock);
