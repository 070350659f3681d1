// SPDX-License-Identifier: GPL-2.0-or-later
// The test guest's answers by UDP, for tests/bench/udp_probe.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

// A question is the first two fields; the answer is all. Little-endian, as the processor has it.
typedef struct {
    uint64_t sequence;
    uint64_t sent;      // the asker's clock, comes back as it was
    uint64_t work;      // work_done()
    uint64_t monotonic; // the guest's clocks, ns
    uint64_t realtime;
    uint64_t counter; // see guest.c
    uint64_t gap;     // the longest time between two ticks (1 ms) since the last answer, ns
    uint64_t boot_id;
} EchoAnswer;

// For the ticks: they were that long apart.
void echo_note_gap(uint64_t ns);

// Answers from now on, before everything else that the guest does.
void echo_start(uint16_t port, const atomic_ullong *counter, uint64_t boot_id);
