// SPDX-License-Identifier: GPL-2.0-or-later
// A load for benchmarks: a loop that computes on all filled memory, and writes to it at a given
// rate.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE = 4096, WORDS = PAGE / 8 };

// The filled memory (guest.c). Whoever touches it holds the lock.
typedef struct {
    pthread_mutex_t lock;
    uint64_t *words;
    size_t bytes;
    uint64_t generation; // another fill, another number
} Fill;

extern Fill filled;

typedef struct {
    uint64_t sum;    // of all pages, as they were before anything wrote to them
    uint64_t writes; // that were done
    uint64_t found;  // that the pages show; less: a page is older than the guest's other memory
} WorkCheck;

// Starts the loop, or changes its rate: MB (10^6 bytes) of pages written a second, 0 = it reads
// only; and how many rounds it computes for each word. false: no memory is filled.
bool work_start(uint64_t seed, unsigned long dirty_rate, unsigned rounds);

// After it nothing is read or written any more.
void work_stop(void);

// Pages read so far; never decreases.
uint64_t work_done(void);

// Takes long. With the loop stopped.
WorkCheck work_check(void);
