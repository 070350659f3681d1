// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/lazy_send.h"

#include <stdlib.h>

enum {
    THREADS = 4, // the first one for faults only: it is never busy with bulk when one comes
    BATCH = 16,  // pages of bulk that a fault may have to wait for before it is written
    // Bulk is read in shorter runs, one at a time, while the guest faults: its reads wait less.
    QUIET_US = 100 * 1000,
    SHORT_RUN = FERRY_NEAR_PAGES,
};

struct FerryLazySend {
    FerryImageReader *reader;
    FerryStreamOut *out; // of the thread that set `writing`
    GMutex lock;         // all below
    GCond changed;
    FerryPageQueue *queue;
    bool writing;
    bool end;
    GError *error;
    uint64_t bytes;
    gint64 last_fault;
    unsigned reading; // threads that read bulk
    GArray *latencies; // of uint32_t
    GThread *threads[THREADS];
};

typedef struct {
    FerryLazySend *send;
    FerryRun *run;
    uint8_t *buffer; // the run's present pages, each at its place
    uint32_t at;     // pages before it were looked at
} Work;

// Pages that are written together.
typedef struct {
    uint64_t pages[BATCH];
    uint32_t n;
    gint64 asked_at[BATCH]; // of those that are faults
    uint32_t n_asked;
} Batch;

// --- what is written ---

static void add_page(Work *work, Batch *batch, uint64_t page, bool zero_too)
{
    FerryLazySend *send = work->send;
    bool present = ferry_image_reader_state(send->reader, page) == FERRY_PAGE_PRESENT;
    if ((present || zero_too) && ferry_page_queue_sent(send->queue, page)) {
        batch->pages[batch->n++] = page;
        send->bytes += present ? FERRY_PAGE : 0;
    }
}

static void add_wanted(Work *work, Batch *batch)
{
    FerryRun *run = work->run;
    while (run->n_wanted > 0 && batch->n < BATCH && batch->n_asked < BATCH) {
        uint32_t last = --run->n_wanted;
        batch->asked_at[batch->n_asked++] = run->wanted[last].asked_at;
        add_page(work, batch, run->wanted[last].page, true);
    }
}

static void fill(Work *work, Batch *batch)
{
    FerryRun *run = work->run;
    batch->n = batch->n_asked = 0;
    add_wanted(work, batch);
    if (batch->n_asked > 0)
        return;
    if (run->fault && work->at == 0)
        batch->asked_at[batch->n_asked++] = run->asked_at;
    while (work->at < run->n && batch->n < BATCH)
        add_page(work, batch, run->first + work->at++, run->zeros);
}

static bool write_batch(const Work *work, const Batch *batch, GError **error)
{
    FerryStreamOut *out = work->send->out;
    if (batch->n == 0)
        return true;
    if (!ferry_stream_out_part(out, error))
        return false;
    for (uint32_t i = 0; i < batch->n; i++) {
        uint64_t page = batch->pages[i];
        bool fine = ferry_image_reader_state(work->send->reader, page) == FERRY_PAGE_PRESENT
                        ? ferry_stream_out_page(
                              out, page, work->buffer + (page - work->run->first) * FERRY_PAGE,
                              error)
                        : ferry_stream_out_zero(out, page, error);
        if (!fine)
            return false;
    }
    return ferry_stream_out_part_end(out, error);
}

// --- whose turn it is; under the lock ---

static bool may_write(const Work *work)
{
    const FerryLazySend *send = work->send;
    return !send->writing && (work->run->fault || work->run->n_wanted > 0 ||
                              !ferry_page_queue_urgent(send->queue));
}

static void note_latencies(FerryLazySend *send, const Batch *batch)
{
    gint64 now = g_get_monotonic_time();
    for (uint32_t i = 0; i < batch->n_asked; i++) {
        uint32_t took = (uint32_t)MIN(now - batch->asked_at[i], (gint64)G_MAXUINT32);
        g_array_append_val(send->latencies, took);
    }
}

static void set_error(FerryLazySend *send, GError *error)
{
    send->end = true;
    if (send->error == NULL)
        send->error = error;
    else
        g_error_free(error);
    g_cond_broadcast(&send->changed);
}

// Writes the next batch; the lock is given back meanwhile.
static void send_some(Work *work)
{
    FerryLazySend *send = work->send;
    GError *error = NULL;
    Batch batch;
    send->writing = true;
    fill(work, &batch);
    g_mutex_unlock(&send->lock);
    bool fine = write_batch(work, &batch, &error);
    g_mutex_lock(&send->lock);
    send->writing = false;
    note_latencies(send, &batch);
    g_cond_broadcast(&send->changed);
    if (!fine)
        set_error(send, error);
}

static void send_all(Work *work)
{
    FerryLazySend *send = work->send;
    while (!send->end && (work->at < work->run->n || work->run->n_wanted > 0))
        if (may_write(work))
            send_some(work);
        else
            g_cond_wait(&send->changed, &send->lock);
    ferry_page_queue_finish(send->queue, work->run);
    g_cond_broadcast(&send->changed);
}

// --- reading ---

static bool is_present(const Work *work, uint32_t at)
{
    return ferry_image_reader_state(work->send->reader, work->run->first + at) ==
           FERRY_PAGE_PRESENT;
}

static bool read_run(Work *work, GError **error)
{
    FerryImageReader *reader = work->send->reader;
    const FerryRun *run = work->run;
    if (!ferry_image_reader_need(reader, run->first, run->n, error))
        return false;
    for (uint32_t at = 0, end; at < run->n; at = end) {
        for (end = at; end < run->n && is_present(work, end);)
            end++;
        if (end == at)
            end++;
        else if (!ferry_image_reader_pages(reader, run->first + at, end - at,
                                           work->buffer + (size_t)at * FERRY_PAGE, error))
            return false;
    }
    return true;
}

// --- the threads ---

static FerryRun *take(FerryLazySend *send, bool faults_only)
{
    FerryRun *run = ferry_page_queue_take(send->queue, true, 0);
    if (run != NULL || faults_only || ferry_page_queue_urgent(send->queue))
        return run;
    bool quiet = g_get_monotonic_time() - send->last_fault > QUIET_US;
    if (!quiet && send->reading > 0)
        return NULL;
    return ferry_page_queue_take(send->queue, false, quiet ? FERRY_RUN_PAGES : SHORT_RUN);
}

// The lock is given back meanwhile.
static void read_taken(Work *work)
{
    FerryLazySend *send = work->send;
    GError *error = NULL;
    bool bulk = !work->run->fault;
    send->reading += bulk;
    g_mutex_unlock(&send->lock);
    bool fine = read_run(work, &error);
    g_mutex_lock(&send->lock);
    send->reading -= bulk;
    if (bulk)
        g_cond_broadcast(&send->changed);
    if (!fine)
        set_error(send, error);
}

// Takes the lock; FALSE at the end.
static bool serve(FerryLazySend *send, uint8_t *buffer, bool faults_only)
{
    g_mutex_lock(&send->lock);
    Work work = {.send = send, .buffer = buffer};
    while (!send->end && (work.run = take(send, faults_only)) == NULL)
        g_cond_wait(&send->changed, &send->lock);
    if (work.run != NULL) {
        read_taken(&work);
        send_all(&work);
    }
    bool more = !send->end;
    g_mutex_unlock(&send->lock);
    return more;
}

static gpointer work_on_faults(gpointer data)
{
    uint8_t *buffer = ferry_buffer_new((size_t)FERRY_RUN_PAGES * FERRY_PAGE);
    while (serve(data, buffer, true))
        ;
    free(buffer);
    return NULL;
}

static gpointer work_on_all(gpointer data)
{
    uint8_t *buffer = ferry_buffer_new((size_t)FERRY_RUN_PAGES * FERRY_PAGE);
    while (serve(data, buffer, false))
        ;
    free(buffer);
    return NULL;
}

// --- for load_lazy ---

FerryLazySend *ferry_lazy_send_new(FerryImageReader *reader, FerryStreamOut *out)
{
    FerryLazySend *send = g_new0(FerryLazySend, 1);
    send->reader = reader;
    send->out = out;
    send->queue = ferry_page_queue_new(ferry_image_reader_descriptor(reader)->total_pages);
    send->latencies = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    g_mutex_init(&send->lock);
    g_cond_init(&send->changed);
    return send;
}

void ferry_lazy_send_stop(FerryLazySend *send)
{
    g_mutex_lock(&send->lock);
    send->end = true;
    g_cond_broadcast(&send->changed);
    g_mutex_unlock(&send->lock);
    for (size_t i = 0; i < THREADS; i++)
        g_clear_pointer(&send->threads[i], g_thread_join);
}

void ferry_lazy_send_free(FerryLazySend *send)
{
    if (send == NULL)
        return;
    ferry_lazy_send_stop(send);
    ferry_page_queue_free(send->queue);
    g_array_unref(send->latencies);
    g_clear_error(&send->error);
    g_mutex_clear(&send->lock);
    g_cond_clear(&send->changed);
    g_free(send);
}

void ferry_lazy_send_start(FerryLazySend *send)
{
    for (size_t i = 0; i < THREADS; i++)
        send->threads[i] = g_thread_new("lazy-send", i == 0 ? work_on_faults : work_on_all, send);
}

void ferry_lazy_send_hot(FerryLazySend *send, const GArray *pages)
{
    g_mutex_lock(&send->lock);
    ferry_page_queue_hot(send->queue, (const uint64_t *)(const void *)pages->data, pages->len);
    g_mutex_unlock(&send->lock);
}

void ferry_lazy_send_fault(FerryLazySend *send, uint64_t page, uint64_t n)
{
    g_mutex_lock(&send->lock);
    send->last_fault = g_get_monotonic_time();
    ferry_page_queue_fault(send->queue, page, n, send->last_fault);
    g_cond_broadcast(&send->changed);
    g_mutex_unlock(&send->lock);
}

void ferry_lazy_send_known(FerryLazySend *send, uint64_t page)
{
    g_mutex_lock(&send->lock);
    ferry_page_queue_known(send->queue, page);
    g_mutex_unlock(&send->lock);
}

void ferry_lazy_send_fail(FerryLazySend *send, GError *error)
{
    g_mutex_lock(&send->lock);
    set_error(send, error);
    g_mutex_unlock(&send->lock);
}

FerryLazyState ferry_lazy_send_wait(FerryLazySend *send, gint64 timeout_us, uint64_t *bytes,
                                    GError **error)
{
    FerryLazyState state = FERRY_LAZY_GOES_ON;
    gint64 until = g_get_monotonic_time() + timeout_us;
    g_mutex_lock(&send->lock);
    while (!send->end && !ferry_page_queue_done(send->queue) &&
           g_cond_wait_until(&send->changed, &send->lock, until))
        ;
    if (send->error != NULL)
        state = FERRY_LAZY_FAILED;
    else if (ferry_page_queue_done(send->queue))
        state = FERRY_LAZY_SENT;
    if (state == FERRY_LAZY_FAILED)
        g_propagate_error(error, g_error_copy(send->error));
    *bytes = send->bytes;
    g_mutex_unlock(&send->lock);
    return state;
}

GArray *ferry_lazy_send_latencies(FerryLazySend *send)
{
    return send->latencies;
}
