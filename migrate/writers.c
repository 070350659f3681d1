// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/writers.h"

#include "migrate/crc32c.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    EXTENTS = 64, // memory is used as far as an extent is filled
    MAX_THREADS = 16,
    // What the last flush has to wait for stays small, however much was written before.
    SYNC_BYTES = 256 * 1024 * 1024,
};

typedef struct {
    FerryExtent extent;
    atomic_bool busy; // set by the one who submits, cleared by a thread
    bool taken;
} Slot;

struct FerryWriters {
    FerryArea *area;
    Slot slots[EXTENTS];
    GThread *threads[MAX_THREADS];
    unsigned n_threads;
    GAsyncQueue *queue;
    GMutex lock;
    GCond changed; // a slot is free again
    GError *error; // under the lock
    atomic_bool failed;
    atomic_uint_fast64_t bytes, unsynced;
};

static Slot end_mark; // in the queue: a thread's last

// --- in the threads ---

static bool write_extent(FerryWriters *writers, const FerryExtent *extent, GError **error)
{
    if (extent->crcs != NULL)
        for (size_t i = 0; i < extent->bytes / FERRY_PAGE; i++)
            extent->crcs[i].crc32c = ferry_crc32c(0, extent->buffer + i * FERRY_PAGE, FERRY_PAGE);
    if (!ferry_area_write(writers->area, extent->buffer, extent->bytes, extent->offset, error))
        return false;
    atomic_fetch_add(&writers->bytes, extent->bytes);
    if (atomic_fetch_add(&writers->unsynced, extent->bytes) < SYNC_BYTES)
        return true;
    atomic_store(&writers->unsynced, 0);
    return ferry_area_flush(writers->area, error);
}

static void finish_slot(FerryWriters *writers, Slot *slot, GError *error)
{
    g_mutex_lock(&writers->lock);
    if (error != NULL && writers->error == NULL)
        writers->error = g_steal_pointer(&error);
    if (writers->error != NULL)
        atomic_store(&writers->failed, true);
    atomic_store(&slot->busy, false);
    g_cond_signal(&writers->changed);
    g_mutex_unlock(&writers->lock);
    g_clear_error(&error);
}

static gpointer work(gpointer data)
{
    FerryWriters *writers = data;
    for (;;) {
        Slot *slot = g_async_queue_pop(writers->queue);
        if (slot == &end_mark)
            return NULL;
        GError *error = NULL;
        if (!atomic_load(&writers->failed))
            write_extent(writers, &slot->extent, &error);
        finish_slot(writers, slot, error);
    }
}

// --- for the one who hands out ---

FerryWriters *ferry_writers_new(FerryArea *area, unsigned threads)
{
    FerryWriters *writers = g_new0(FerryWriters, 1);
    writers->area = area;
    writers->queue = g_async_queue_new();
    g_mutex_init(&writers->lock);
    g_cond_init(&writers->changed);
    for (size_t i = 0; i < EXTENTS; i++)
        writers->slots[i].extent.buffer = ferry_buffer_new(FERRY_EXTENT);
    writers->n_threads = CLAMP(threads, 1, MAX_THREADS);
    for (unsigned i = 0; i < writers->n_threads; i++)
        writers->threads[i] = g_thread_new("writer", work, writers);
    return writers;
}

void ferry_writers_free(FerryWriters *writers)
{
    if (writers == NULL)
        return;
    for (unsigned i = 0; i < writers->n_threads; i++)
        g_async_queue_push(writers->queue, &end_mark);
    for (unsigned i = 0; i < writers->n_threads; i++)
        g_thread_join(writers->threads[i]);
    for (size_t i = 0; i < EXTENTS; i++)
        free(writers->slots[i].extent.buffer);
    g_async_queue_unref(writers->queue);
    g_mutex_clear(&writers->lock);
    g_cond_clear(&writers->changed);
    g_clear_error(&writers->error);
    g_free(writers);
}

static bool copy_error(FerryWriters *writers, GError **error)
{
    if (writers->error == NULL)
        return true;
    g_propagate_error(error, g_error_copy(writers->error));
    return false;
}

static Slot *free_slot(FerryWriters *writers)
{
    for (size_t i = 0; i < EXTENTS; i++)
        if (!writers->slots[i].taken && !atomic_load(&writers->slots[i].busy))
            return &writers->slots[i];
    return NULL;
}

FerryExtent *ferry_writers_take(FerryWriters *writers, GError **error)
{
    Slot *slot;
    g_mutex_lock(&writers->lock);
    while ((slot = free_slot(writers)) == NULL)
        g_cond_wait(&writers->changed, &writers->lock);
    bool fine = copy_error(writers, error);
    g_mutex_unlock(&writers->lock);
    if (!fine)
        return NULL;
    slot->taken = true;
    slot->extent.offset = 0;
    slot->extent.bytes = 0;
    slot->extent.crcs = NULL;
    return &slot->extent;
}

void ferry_writers_submit(FerryWriters *writers, FerryExtent *extent)
{
    Slot *slot = (Slot *)extent; // its first member
    slot->taken = false;
    atomic_store(&slot->busy, true);
    g_async_queue_push(writers->queue, slot);
}

bool ferry_writers_busy(const FerryWriters *writers, uint64_t offset, uint64_t bytes)
{
    for (size_t i = 0; i < EXTENTS; i++) {
        const FerryExtent *extent = &writers->slots[i].extent;
        if (offset < extent->offset + extent->bytes && extent->offset < offset + bytes &&
            atomic_load(&writers->slots[i].busy))
            return true;
    }
    return false;
}

bool ferry_writers_settle(FerryWriters *writers, uint64_t offset, uint64_t bytes, GError **error)
{
    if (!atomic_load(&writers->failed) && !ferry_writers_busy(writers, offset, bytes))
        return true;
    g_mutex_lock(&writers->lock);
    while (ferry_writers_busy(writers, offset, bytes))
        g_cond_wait(&writers->changed, &writers->lock);
    bool fine = copy_error(writers, error);
    g_mutex_unlock(&writers->lock);
    return fine;
}

bool ferry_writers_drain(FerryWriters *writers, GError **error)
{
    return ferry_writers_settle(writers, 0, UINT64_MAX, error);
}

uint64_t ferry_writers_bytes(const FerryWriters *writers)
{
    return atomic_load(&writers->bytes);
}
