// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages a lazy load sends next: those the guest waits for, then what lies near them, the hot
// list, around the last fault, and the rest in order. Nothing is sent twice. Plain data: the caller
// locks.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FERRY_UNIT_PAGES = 512, // what QEMU takes only together: a huge page of 2 MiB
    FERRY_RUN_PAGES = FERRY_UNIT_PAGES, // of one run at most
    FERRY_NEAR_PAGES = 64,  // the aligned stretch that is read with a fault: 256 KiB
    FERRY_RUNS = 16,        // on their way at the same time
};

typedef struct FerryPageQueue FerryPageQueue;

// Pages that one reader works on; the queue owns it.
typedef struct {
    uint64_t first;
    uint32_t n; // 0: free
    bool fault; // the guest waits for all of it
    bool unit;  // it is one unit, to be sent together and in order, or not at all
    bool near;  // it lies near a fault; its zero pages are to be sent, too, as a fault's
    int64_t asked_at; // as given with the fault
    // Pages that the guest turned out to wait for; to be taken from the end and sent, zero or not.
    uint32_t n_wanted;
    struct {
        uint64_t page;
        int64_t asked_at;
    } wanted[FERRY_RUN_PAGES];
} FerryRun;

// LINEAR: neither what lies near a fault nor around it is preferred.
FerryPageQueue *ferry_page_queue_new(uint64_t total_pages, bool linear);
void ferry_page_queue_free(FerryPageQueue *queue);

// N pages from FIRST on come in units only; before anything is taken. N is a multiple of a unit.
void ferry_page_queue_units(FerryPageQueue *queue, uint64_t first, uint64_t n);
// PAGES below the total, the most urgent first; copied.
void ferry_page_queue_hot(FerryPageQueue *queue, const uint64_t *pages, size_t n);
// The guest waits for N pages from PAGE on (all below the total). A page that was sent is on its
// way and is not asked for again.
void ferry_page_queue_fault(FerryPageQueue *queue, uint64_t page, uint64_t n, int64_t now);

// The next run, or NULL where there is none (ever: see ferry_page_queue_done), or none that is a
// fault where FAULTS_ONLY. LENGTH: bulk is taken in runs of that many pages at most.
FerryRun *ferry_page_queue_take(FerryPageQueue *queue, bool faults_only, uint32_t length);
// PAGE of RUN goes to QEMU now. False: it went before.
bool ferry_page_queue_sent(FerryPageQueue *queue, uint64_t page);
// RUN was dealt with.
void ferry_page_queue_finish(FerryPageQueue *queue, FerryRun *run);
// N pages from PAGE on are in QEMU already; before anything is taken.
void ferry_page_queue_known(FerryPageQueue *queue, uint64_t page, uint64_t n);

bool ferry_page_queue_near(FerryPageQueue *queue);         // the next run, if no fault, is near one
bool ferry_page_queue_warm(FerryPageQueue *queue);         // or on the hot list
bool ferry_page_queue_urgent(const FerryPageQueue *queue); // the guest waits for something
bool ferry_page_queue_done(const FerryPageQueue *queue);   // nothing to take, nothing on its way
