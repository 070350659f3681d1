// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/lazy_send.h"

#include <stdlib.h>

enum {
    BATCH = 16, // pages of bulk that a fault may have to wait for before it is written
    BULK_RUNS = 4,
    LONG_RUN = 256,
    // Bulk is read in shorter runs, one at a time, while the guest faults: its reads wait less.
    QUIET_US = 100 * 1000,
    SHORT_RUN = FERRY_NEAR_PAGES,
    // The guest has begun to run, and has much to do: bulk would take CPU time from it.
    GRACE_US = 250 * 1000,
    GRACE_MS = 20, // between two looks then
    WAIT_MS = 200,
    // Pages between two stretches that are cheaper to read than to leave out.
    SMALL_GAP = 8,
    RESERVE = 16, // reads kept for faults
};

typedef enum { FAULT, NEAR, BULK, N_KINDS } Kind;

// Bulk waits until the guest waits for nothing, so that a fault must always find a free run.
G_STATIC_ASSERT(FERRY_RUNS > (N_KINDS - 1) * BULK_RUNS);

typedef struct {
    FerryRun *run;   // NULL: free
    Kind kind;       // as it was taken
    uint8_t *buffer; // the run's present pages, each at its place
    unsigned reading;
    uint32_t at; // pages before it were looked at
} Work;

// Pages that are written together.
typedef struct {
    uint64_t pages[FERRY_UNIT_PAGES];
    uint32_t n;
    gint64 asked_at[BATCH]; // of those that are faults
    uint32_t n_asked;
} Batch;

struct FerryLazySend {
    FerryImageReader *reader;
    FerryReads *reads;
    FerryStreamOut *out;
    FerryPageQueue *queue;
    Work works[FERRY_RUNS];
    unsigned busy[N_KINDS]; // works of each
    uint64_t bytes;
    gint64 last_fault, began;
    bool linear, hurry;
    GArray *latencies; // of uint32_t
};

// --- what is read ---

static bool is_present(const FerryLazySend *send, uint64_t page)
{
    return ferry_image_reader_state(send->reader, page) == FERRY_PAGE_PRESENT;
}

static bool in_grace(const FerryLazySend *send)
{
    return !send->linear && !send->hurry && g_get_monotonic_time() - send->began < GRACE_US;
}

static FerryRun *take_bulk(FerryLazySend *send)
{
    if (in_grace(send) && !ferry_page_queue_warm(send->queue))
        return NULL;
    bool quiet = send->hurry || g_get_monotonic_time() - send->last_fault > QUIET_US;
    bool urgent = !send->hurry && ferry_page_queue_urgent(send->queue);
    Kind kind = ferry_page_queue_near(send->queue) ? NEAR : BULK;
    if (urgent || send->busy[kind] >= (quiet ? BULK_RUNS : 1) ||
        ferry_reads_under_way(send->reads) + FERRY_RUN_PAGES / SMALL_GAP + RESERVE > FERRY_READS_MAX)
        return NULL;
    return ferry_page_queue_take(send->queue, false, quiet ? LONG_RUN : SHORT_RUN);
}

static FerryRun *take(FerryLazySend *send)
{
    FerryRun *run = ferry_reads_under_way(send->reads) < FERRY_READS_MAX
                        ? ferry_page_queue_take(send->queue, true, 0)
                        : NULL;
    return run != NULL ? run : take_bulk(send);
}

// The stretch of present pages from AT on, over small gaps; its end.
static uint32_t stretch_end(const Work *work, const FerryLazySend *send, uint32_t at)
{
    uint32_t end = at;
    for (uint32_t next = at; next < work->run->n && next - end < SMALL_GAP; next++)
        if (is_present(send, work->run->first + next))
            end = next + 1;
    return end;
}

static bool begin_work(FerryLazySend *send, Work *work, GError **error)
{
    const FerryRun *run = work->run;
    work->at = work->reading = 0;
    work->kind = run->fault ? FAULT : run->near ? NEAR : BULK;
    send->busy[work->kind]++;
    if (work->buffer == NULL)
        work->buffer = ferry_buffer_new((size_t)FERRY_RUN_PAGES * FERRY_PAGE);
    if (!ferry_image_reader_need(send->reader, run->first, run->n, error))
        return false;
    for (uint32_t at = 0, end; at < run->n; at = MAX(end, at + 1)) {
        end = is_present(send, run->first + at) ? stretch_end(work, send, at) : at;
        if (end == at)
            continue;
        ferry_reads_submit(send->reads, work->buffer + (size_t)at * FERRY_PAGE,
                           (size_t)(end - at) * FERRY_PAGE,
                           ferry_image_reader_offset(send->reader, run->first + at), work);
        ferry_image_reader_count(send->reader, (uint64_t)(end - at) * FERRY_PAGE);
        work->reading++;
    }
    ferry_reads_flush(send->reads); // the next run's index may have to be waited for
    return true;
}

static bool begin_works(FerryLazySend *send, GError **error)
{
    for (size_t i = 0; i < FERRY_RUNS; i++) {
        Work *work = &send->works[i];
        if (work->run != NULL)
            continue;
        work->run = take(send);
        if (work->run == NULL)
            break;
        if (!begin_work(send, work, error))
            return false;
    }
    return true;
}

static bool verify(FerryLazySend *send, const Work *work, GError **error)
{
    for (uint32_t i = 0; i < work->run->n; i++) {
        uint64_t page = work->run->first + i;
        if (is_present(send, page) &&
            !ferry_image_reader_verify(send->reader, page,
                                       work->buffer + (size_t)i * FERRY_PAGE, error))
            return false;
    }
    return true;
}

static bool take_reads(FerryLazySend *send, GError **error)
{
    g_autoptr(GError) failed = NULL;
    for (Work *work; (work = ferry_reads_next(send->reads, &failed)) != NULL;) {
        if (failed != NULL) {
            g_propagate_error(error, g_steal_pointer(&failed));
            return false;
        }
        if (--work->reading == 0 && !verify(send, work, error))
            return false;
    }
    return true;
}

// --- what is written ---

static void add_page(FerryLazySend *send, Batch *batch, uint64_t page, bool zero_too)
{
    bool present = is_present(send, page);
    if ((present || zero_too) && ferry_page_queue_sent(send->queue, page)) {
        batch->pages[batch->n++] = page;
        send->bytes += present ? FERRY_PAGE : 0;
    }
}

static void add_wanted(FerryLazySend *send, FerryRun *run, Batch *batch)
{
    while (run->n_wanted > 0 && batch->n < BATCH && batch->n_asked < BATCH) {
        uint32_t last = --run->n_wanted;
        batch->asked_at[batch->n_asked++] = run->wanted[last].asked_at;
        add_page(send, batch, run->wanted[last].page, true);
    }
}

static bool any_present(const FerryLazySend *send, const FerryRun *run)
{
    uint32_t i = 0;
    while (i < run->n && !is_present(send, run->first + i))
        i++;
    return i < run->n;
}

static void fill(FerryLazySend *send, Work *work, Batch *batch)
{
    FerryRun *run = work->run;
    bool zeros = run->fault || run->near || (run->unit && any_present(send, run));
    batch->n = batch->n_asked = 0;
    add_wanted(send, run, batch);
    if (batch->n_asked > 0)
        return;
    if (run->fault && work->at == 0)
        batch->asked_at[batch->n_asked++] = run->asked_at;
    while (work->at < run->n && (run->unit || batch->n < BATCH))
        add_page(send, batch, run->first + work->at++, zeros);
}

static bool write_batch(const FerryLazySend *send, const Work *work, const Batch *batch,
                        GError **error)
{
    if (batch->n == 0)
        return true;
    if (!ferry_stream_out_part(send->out, error))
        return false;
    for (uint32_t i = 0; i < batch->n; i++) {
        uint64_t page = batch->pages[i];
        const uint8_t *bytes = work->buffer + (page - work->run->first) * FERRY_PAGE;
        if (!(is_present(send, page) ? ferry_stream_out_page(send->out, page, bytes, error)
                                     : ferry_stream_out_zero(send->out, page, error)))
            return false;
    }
    return ferry_stream_out_part_end(send->out, error);
}

static void note_latencies(FerryLazySend *send, const Batch *batch)
{
    gint64 now = g_get_monotonic_time();
    for (uint32_t i = 0; i < batch->n_asked; i++) {
        uint32_t took = (uint32_t)MIN(now - batch->asked_at[i], (gint64)G_MAXUINT32);
        g_array_append_val(send->latencies, took);
    }
}

static bool send_some(FerryLazySend *send, Work *work, GError **error)
{
    Batch batch;
    fill(send, work, &batch);
    if (!write_batch(send, work, &batch, error))
        return false;
    note_latencies(send, &batch);
    if (work->at < work->run->n || work->run->n_wanted > 0)
        return true;
    send->busy[work->kind]--;
    ferry_page_queue_finish(send->queue, work->run);
    work->run = NULL;
    return true;
}

// What the guest waits for; where it waits for nothing, what lies near, then bulk.
static Work *next_work(FerryLazySend *send)
{
    Work *bulk = NULL;
    for (size_t i = 0; i < FERRY_RUNS; i++) {
        Work *work = &send->works[i];
        if (work->run == NULL || work->reading > 0)
            continue;
        if (work->run->fault || work->run->n_wanted > 0)
            return work;
        if (bulk == NULL || (work->run->near && !bulk->run->near))
            bulk = work;
    }
    return send->hurry || !ferry_page_queue_urgent(send->queue) ? bulk : NULL;
}

bool ferry_lazy_send_step(FerryLazySend *send, bool *idle, int *wait_ms, GError **error)
{
    if (!take_reads(send, error) || !begin_works(send, error))
        return false;
    Work *work = next_work(send);
    *idle = work == NULL;
    *wait_ms = in_grace(send) ? GRACE_MS : WAIT_MS;
    return work == NULL || send_some(send, work, error);
}

// --- for load_lazy ---

FerryLazySend *ferry_lazy_send_new(FerryImageReader *reader, FerryReads *reads,
                                   FerryStreamOut *out, bool linear)
{
    FerryLazySend *send = g_new0(FerryLazySend, 1);
    send->reader = reader;
    send->reads = reads;
    send->out = out;
    send->linear = linear;
    send->began = g_get_monotonic_time();
    send->queue =
        ferry_page_queue_new(ferry_image_reader_descriptor(reader)->total_pages, linear);
    send->latencies = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    for (uint32_t i = 0; i < ferry_image_reader_descriptor(reader)->n_blocks; i++) {
        const FerryBlock *block = &ferry_image_reader_descriptor(reader)->blocks[i];
        if (block->huge)
            ferry_page_queue_units(send->queue, block->first_page, block->length / FERRY_PAGE);
    }
    return send;
}

void ferry_lazy_send_free(FerryLazySend *send)
{
    if (send == NULL)
        return;
    g_autoptr(GError) error = NULL;
    while (ferry_reads_under_way(send->reads) > 0) {
        ferry_reads_wait(send->reads);
        ferry_reads_next(send->reads, &error);
        g_clear_error(&error);
    }
    for (size_t i = 0; i < FERRY_RUNS; i++)
        free(send->works[i].buffer);
    ferry_page_queue_free(send->queue);
    g_array_unref(send->latencies);
    g_free(send);
}

void ferry_lazy_send_known(FerryLazySend *send, uint64_t page, uint64_t n)
{
    ferry_page_queue_known(send->queue, page, n);
}

void ferry_lazy_send_hot(FerryLazySend *send, const GArray *pages)
{
    ferry_page_queue_hot(send->queue, (const uint64_t *)(const void *)pages->data, pages->len);
}

void ferry_lazy_send_fault(FerryLazySend *send, uint64_t page, uint64_t n, gint64 asked_at)
{
    send->last_fault = g_get_monotonic_time();
    ferry_page_queue_fault(send->queue, page, n, asked_at);
}

void ferry_lazy_send_hurry(FerryLazySend *send)
{
    send->hurry = true;
}

bool ferry_lazy_send_done(const FerryLazySend *send)
{
    return ferry_page_queue_done(send->queue);
}

uint64_t ferry_lazy_send_bytes(const FerryLazySend *send)
{
    return send->bytes;
}

GArray *ferry_lazy_send_latencies(FerryLazySend *send)
{
    return send->latencies;
}
