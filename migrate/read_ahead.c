// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/read_ahead.h"

#include <stdlib.h>

enum {
    SLOTS = 16,
    MAX_THREADS = 8,
};

typedef struct {
    uint8_t *buffer;
    bool ready;
    GError *error;
} Slot;

struct FerryReadAhead {
    FerryImageReader *reader;
    uint64_t n_pages;
    GArray *windows; // first pages (uint64_t) of those that have something present
    GMutex lock;     // all below
    GCond changed;
    Slot slots[SLOTS]; // window i is in slot i % SLOTS
    guint taken;       // windows that a thread has begun with
    guint used;        // windows that were given out; the last of them is still in use
    bool end;
    GThread *threads[MAX_THREADS];
    unsigned n_threads;
};

// --- windows ---

static uint32_t window_pages(const FerryReadAhead *ahead, uint64_t first)
{
    return (uint32_t)MIN((uint64_t)FERRY_WINDOW, ahead->n_pages - first);
}

static bool present(const FerryReadAhead *ahead, uint64_t page)
{
    return ferry_image_reader_state(ahead->reader, page) == FERRY_PAGE_PRESENT;
}

static void list_windows(FerryReadAhead *ahead)
{
    for (uint64_t first = 0; first < ahead->n_pages; first += FERRY_WINDOW)
        for (uint32_t i = 0; i < window_pages(ahead, first); i++)
            if (present(ahead, first + i)) {
                g_array_append_val(ahead->windows, first);
                break;
            }
}

// --- in the threads ---

// The run of present pages at AT of the window.
static uint32_t run_length(const FerryReadAhead *ahead, uint64_t first, uint32_t at, uint32_t n)
{
    uint32_t end = at;
    while (end < n && present(ahead, first + end))
        end++;
    return end - at;
}

static bool read_window(FerryReadAhead *ahead, uint64_t first, uint8_t *buffer, GError **error)
{
    uint32_t n = window_pages(ahead, first);
    for (uint32_t at = 0; at < n;) {
        uint32_t run = run_length(ahead, first, at, n);
        if (run != 0 && !ferry_image_reader_pages(ahead->reader, first + at, run,
                                                  buffer + (size_t)at * FERRY_PAGE, error))
            return false;
        at += run != 0 ? run : 1;
    }
    return true;
}

// Waits for a window to read; G_MAXUINT = none is left.
static guint take_window(FerryReadAhead *ahead)
{
    g_mutex_lock(&ahead->lock);
    while (!ahead->end && ahead->taken < ahead->windows->len &&
           ahead->taken >= MAX(ahead->used, 1u) - 1 + SLOTS)
        g_cond_wait(&ahead->changed, &ahead->lock);
    guint window =
        !ahead->end && ahead->taken < ahead->windows->len ? ahead->taken++ : G_MAXUINT;
    g_mutex_unlock(&ahead->lock);
    return window;
}

static gpointer work(gpointer data)
{
    FerryReadAhead *ahead = data;
    for (guint window; (window = take_window(ahead)) != G_MAXUINT;) {
        GError *error = NULL;
        Slot *slot = &ahead->slots[window % SLOTS];
        read_window(ahead, g_array_index(ahead->windows, uint64_t, window), slot->buffer, &error);
        g_mutex_lock(&ahead->lock);
        slot->ready = true;
        slot->error = error;
        g_cond_broadcast(&ahead->changed);
        g_mutex_unlock(&ahead->lock);
    }
    return NULL;
}

// --- for the one who uses them ---

FerryReadAhead *ferry_read_ahead_new(FerryImageReader *reader, unsigned threads)
{
    FerryReadAhead *ahead = g_new0(FerryReadAhead, 1);
    ahead->reader = reader;
    ahead->n_pages = ferry_image_reader_descriptor(reader)->total_pages;
    ahead->windows = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    list_windows(ahead);
    g_mutex_init(&ahead->lock);
    g_cond_init(&ahead->changed);
    for (size_t i = 0; i < SLOTS; i++)
        ahead->slots[i].buffer = ferry_buffer_new((size_t)FERRY_WINDOW * FERRY_PAGE);
    ahead->n_threads = CLAMP(threads, 1, MAX_THREADS);
    for (unsigned i = 0; i < ahead->n_threads; i++)
        ahead->threads[i] = g_thread_new("read-ahead", work, ahead);
    return ahead;
}

void ferry_read_ahead_free(FerryReadAhead *ahead)
{
    if (ahead == NULL)
        return;
    g_mutex_lock(&ahead->lock);
    ahead->end = true;
    g_cond_broadcast(&ahead->changed);
    g_mutex_unlock(&ahead->lock);
    for (unsigned i = 0; i < ahead->n_threads; i++)
        g_thread_join(ahead->threads[i]);
    for (size_t i = 0; i < SLOTS; i++) {
        free(ahead->slots[i].buffer);
        g_clear_error(&ahead->slots[i].error);
    }
    g_array_unref(ahead->windows);
    g_mutex_clear(&ahead->lock);
    g_cond_clear(&ahead->changed);
    g_free(ahead);
}

bool ferry_read_ahead_next(FerryReadAhead *ahead, FerryWindow *window, GError **error)
{
    if (ahead->used == ahead->windows->len)
        return false;
    guint next = ahead->used;
    Slot *slot = &ahead->slots[next % SLOTS];
    g_mutex_lock(&ahead->lock);
    ahead->used = next + 1; // gives the window before back
    g_cond_broadcast(&ahead->changed);
    while (!slot->ready)
        g_cond_wait(&ahead->changed, &ahead->lock);
    slot->ready = false;
    GError *failed = g_steal_pointer(&slot->error);
    g_mutex_unlock(&ahead->lock);
    if (failed != NULL) {
        g_propagate_error(error, failed);
        return false;
    }
    uint64_t first = g_array_index(ahead->windows, uint64_t, next);
    *window = (FerryWindow){first, window_pages(ahead, first), slot->buffer};
    return true;
}
