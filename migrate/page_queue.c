// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/page_queue.h"

#include <glib.h>
#include <string.h>

enum {
    NEAR_BLOCKS = 32,    // that are remembered; the latest goes first
    AROUND_PAGES = 1024, // to each side of the last fault
};

enum {
    SENT = 1,   // went to QEMU
    PASSED = 2, // bulk went by: sent, or zero
    FLYING = 4, // in a run
    HOT = 8,
};

typedef struct {
    uint64_t page;
    int64_t asked_at;
} Fault;

typedef struct {
    uint64_t first;
    uint32_t n;
    bool fault, near, unit;
    int64_t asked_at;
} Choice;

struct FerryPageQueue {
    uint64_t total;
    bool linear;
    uint8_t *flags; // of each page
    GQueue faults;  // of Fault, owned
    unsigned flying_faults;
    uint64_t near[NEAR_BLOCKS]; // first pages, the latest last
    unsigned n_near;
    GArray *hot; // of uint64_t
    guint next_hot;
    uint64_t last_fault;
    bool around; // something may be left around last_fault
    uint64_t next; // in order
    uint64_t units_first, units_end; // pages that come in units
    FerryRun runs[FERRY_RUNS];
};

FerryPageQueue *ferry_page_queue_new(uint64_t total_pages, bool linear)
{
    FerryPageQueue *queue = g_new0(FerryPageQueue, 1);
    queue->total = total_pages;
    queue->linear = linear;
    queue->flags = g_malloc0(total_pages);
    queue->hot = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_queue_init(&queue->faults);
    return queue;
}

void ferry_page_queue_free(FerryPageQueue *queue)
{
    if (queue == NULL)
        return;
    g_queue_clear_full(&queue->faults, g_free);
    g_array_unref(queue->hot);
    g_free(queue->flags);
    g_free(queue);
}

void ferry_page_queue_hot(FerryPageQueue *queue, const uint64_t *pages, size_t n)
{
    for (size_t i = 0; i < n; i++)
        queue->flags[pages[i]] |= HOT;
    g_array_append_vals(queue->hot, pages, (guint)n);
}

void ferry_page_queue_units(FerryPageQueue *queue, uint64_t first, uint64_t n)
{
    queue->units_first = first;
    queue->units_end = first + n;
}

static bool in_units(const FerryPageQueue *queue, uint64_t page)
{
    return page >= queue->units_first && page < queue->units_end;
}

// All pages of a unit are in the same state, and it goes by its first page.
static uint64_t head_of(const FerryPageQueue *queue, uint64_t page)
{
    return in_units(queue, page) ? page - (page - queue->units_first) % FERRY_UNIT_PAGES : page;
}

// --- faults ---

static FerryRun *run_with(FerryPageQueue *queue, uint64_t page)
{
    for (size_t i = 0; i < FERRY_RUNS; i++) {
        FerryRun *run = &queue->runs[i];
        if (page >= run->first && page - run->first < run->n)
            return run;
    }
    return NULL;
}

static void want(FerryPageQueue *queue, FerryRun *run, uint64_t page, int64_t now)
{
    if (run->fault)
        return; // it is about to be sent anyway
    if (run->unit) {
        run->fault = true;
        run->asked_at = now;
        queue->flying_faults++;
        return;
    }
    for (uint32_t i = 0; i < run->n_wanted; i++)
        if (run->wanted[i].page == page)
            return;
    run->wanted[run->n_wanted].page = page;
    run->wanted[run->n_wanted++].asked_at = now;
}

static void remember_near(FerryPageQueue *queue, uint64_t page)
{
    uint64_t block = page / FERRY_NEAR_PAGES * FERRY_NEAR_PAGES;
    unsigned n = queue->n_near;
    if (n > 0 && queue->near[n - 1] == block)
        return;
    if (n == NEAR_BLOCKS) {
        for (n = 1; n < NEAR_BLOCKS; n++)
            queue->near[n - 1] = queue->near[n];
        n = NEAR_BLOCKS - 1;
    }
    queue->near[n] = block;
    queue->n_near = n + 1;
}

void ferry_page_queue_fault(FerryPageQueue *queue, uint64_t page, uint64_t n, int64_t now)
{
    for (uint64_t at = page; at < page + n; at++) {
        if (queue->flags[at] & SENT || (at > page && head_of(queue, at) != at))
            continue;
        if (queue->flags[at] & FLYING) {
            want(queue, run_with(queue, at), at, now);
            continue;
        }
        Fault *fault = g_new(Fault, 1);
        *fault = (Fault){at, now};
        g_queue_push_tail(&queue->faults, fault);
    }
    if (queue->linear)
        return;
    remember_near(queue, page);
    queue->last_fault = page;
    queue->around = true;
}

// --- what comes next ---

static bool is_free(const FerryPageQueue *queue, uint64_t page, uint8_t without, uint8_t with)
{
    return !(queue->flags[page] & (SENT | FLYING | without)) &&
           (queue->flags[page] & with) == with;
}

// The first stretch within [FIRST, END) that is free, LENGTH pages at most; N is 0 for none.
static Choice stretch(const FerryPageQueue *queue, uint64_t first, uint64_t end, uint32_t length,
                        uint8_t without)
{
    Choice run = {.first = first};
    while (run.first < end && !is_free(queue, run.first, without, 0))
        run.first++;
    while (run.n < length && run.first + run.n < end &&
           is_free(queue, run.first + run.n, without, 0))
        run.n++;
    return run;
}

static Choice next_fault(FerryPageQueue *queue)
{
    Choice run = {.fault = true};
    for (Fault *fault; run.n == 0 && (fault = g_queue_pop_head(&queue->faults)) != NULL;) {
        FerryRun *flying = queue->flags[fault->page] & FLYING ? run_with(queue, fault->page) : NULL;
        if (flying != NULL) {
            want(queue, flying, fault->page, fault->asked_at);
        } else if (!(queue->flags[fault->page] & SENT)) {
            run.first = fault->page;
            run.n = 1;
            run.asked_at = fault->asked_at;
        }
        g_free(fault);
    }
    return run;
}

// Forgets the blocks of which nothing is left.
static Choice next_near(FerryPageQueue *queue)
{
    Choice run = {0};
    while (queue->n_near > 0 && run.n == 0) {
        uint64_t block = queue->near[queue->n_near - 1];
        run = stretch(queue, block, MIN(block + FERRY_NEAR_PAGES, queue->total), FERRY_NEAR_PAGES,
                      0);
        if (run.n == 0)
            queue->n_near--;
    }
    run.near = run.n != 0;
    return run;
}

static Choice next_hot(FerryPageQueue *queue)
{
    Choice run = {0};
    while (run.n == 0 && queue->next_hot < queue->hot->len) {
        run.first = g_array_index(queue->hot, uint64_t, queue->next_hot++);
        while (run.n < FERRY_NEAR_PAGES && run.first + run.n < queue->total &&
               is_free(queue, run.first + run.n, PASSED, HOT))
            run.n++;
    }
    return run;
}

static Choice next_around(FerryPageQueue *queue, uint32_t length)
{
    Choice run = {0};
    if (!queue->around)
        return run;
    uint64_t end = MIN(queue->last_fault + AROUND_PAGES, queue->total);
    uint64_t begin = queue->last_fault - MIN(queue->last_fault, (uint64_t)AROUND_PAGES);
    run = stretch(queue, queue->last_fault, end, length, PASSED);
    if (run.n == 0)
        run = stretch(queue, begin, queue->last_fault, length, PASSED);
    queue->around = run.n != 0;
    return run;
}

static Choice next_in_order(FerryPageQueue *queue, uint32_t length)
{
    Choice run = stretch(queue, queue->next, queue->total, length, PASSED);
    queue->next = run.first; // what is under way from there on is passed over the next time
    return run;
}

// A run is one unit, or has none in it.
static void keep_units(FerryPageQueue *queue, Choice *run)
{
    run->unit = in_units(queue, run->first);
    if (run->unit) {
        run->first = head_of(queue, run->first);
        run->n = FERRY_UNIT_PAGES;
    } else if (run->first < queue->units_first && run->first + run->n > queue->units_first) {
        run->n = (uint32_t)(queue->units_first - run->first);
    }
}

static Choice choose(FerryPageQueue *queue, bool faults_only, uint32_t length)
{
    Choice run = next_fault(queue);
    if (run.n != 0 || faults_only)
        return run;
    run = next_near(queue);
    if (run.n == 0)
        run = next_hot(queue);
    if (run.n == 0)
        run = next_around(queue, length);
    if (run.n == 0)
        run = next_in_order(queue, length);
    return run;
}

FerryRun *ferry_page_queue_take(FerryPageQueue *queue, bool faults_only, uint32_t length)
{
    FerryRun *slot = queue->runs;
    while (slot < queue->runs + FERRY_RUNS && slot->n != 0)
        slot++;
    if (slot == queue->runs + FERRY_RUNS)
        return NULL;
    Choice run = choose(queue, faults_only, MIN(length, (uint32_t)FERRY_RUN_PAGES));
    if (run.n == 0)
        return NULL;
    keep_units(queue, &run);
    for (uint32_t i = 0; i < run.n; i++)
        queue->flags[run.first + i] |= FLYING;
    queue->flying_faults += run.fault;
    slot->first = run.first;
    slot->n = run.n;
    slot->fault = run.fault;
    slot->near = run.near;
    slot->unit = run.unit;
    slot->asked_at = run.asked_at;
    slot->n_wanted = 0;
    return slot;
}

// --- how it went ---

bool ferry_page_queue_sent(FerryPageQueue *queue, uint64_t page)
{
    bool first = !(queue->flags[page] & SENT);
    queue->flags[page] |= SENT;
    return first;
}

void ferry_page_queue_finish(FerryPageQueue *queue, FerryRun *run)
{
    for (uint32_t i = 0; i < run->n; i++) {
        uint8_t *flags = &queue->flags[run->first + i];
        *flags = (uint8_t)((*flags & ~FLYING) | PASSED);
    }
    queue->flying_faults -= run->fault;
    run->n = 0;
}

void ferry_page_queue_known(FerryPageQueue *queue, uint64_t page, uint64_t n)
{
    memset(queue->flags + page, SENT | PASSED, n);
}

bool ferry_page_queue_near(FerryPageQueue *queue)
{
    return next_near(queue).n > 0;
}

bool ferry_page_queue_warm(FerryPageQueue *queue)
{
    return next_near(queue).n > 0 || queue->next_hot < queue->hot->len;
}

bool ferry_page_queue_urgent(const FerryPageQueue *queue)
{
    if (queue->flying_faults > 0 || !g_queue_is_empty((GQueue *)&queue->faults))
        return true;
    for (size_t i = 0; i < FERRY_RUNS; i++)
        if (queue->runs[i].n != 0 && queue->runs[i].n_wanted != 0)
            return true;
    return false;
}

bool ferry_page_queue_done(const FerryPageQueue *queue)
{
    bool flying = false;
    for (size_t i = 0; i < FERRY_RUNS; i++)
        flying = flying || queue->runs[i].n != 0;
    return !flying && queue->next >= queue->total && !ferry_page_queue_urgent(queue);
}
