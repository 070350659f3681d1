// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/load_lazy.h"

#include "migrate/lazy_resume.h"
#include "migrate/lazy_send.h"
#include "migrate/return_path.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PROGRESS_US = 200 * 1000,
    // Between us and QEMU: a fault's page waits behind that much bulk at most.
    BULK_BYTES = 64 * 1024,
};

typedef struct {
    FerryImageReader *reader;
    int fd;
    FerryStreamOut *out;
    FerryLazySend *send;
    const FerryLazyEvents *events;
    void *env;
    bool shut; // of the thread that listens, until it is joined: QEMU has everything
    GThread *listener;
} Lazy;

// --- what QEMU says; the listener's thread ---

static const FerryBlock *block_named(const Lazy *lazy, const char *name)
{
    const FerryDescriptor *descriptor = ferry_image_reader_descriptor(lazy->reader);
    for (uint32_t i = 0; i < descriptor->n_blocks; i++)
        if (strcmp(descriptor->blocks[i].name, name) == 0)
            return &descriptor->blocks[i];
    return NULL;
}

static bool ask(Lazy *lazy, const FerryReturnMessage *message, GError **error)
{
    const FerryBlock *block = block_named(lazy, message->block);
    if (block == NULL || message->length == 0 || message->start % FERRY_PAGE != 0 ||
        message->length % FERRY_PAGE != 0 || message->start > block->length ||
        message->length > block->length - message->start) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM,
                    "QEMU asks for %u bytes at %" G_GUINT64_FORMAT " of \"%s\", which the saved "
                    "memory does not have", message->length, message->start, message->block);
        return false;
    }
    ferry_lazy_send_fault(lazy->send, block->first_page + message->start / FERRY_PAGE,
                          message->length / FERRY_PAGE);
    return true;
}

static bool end(Lazy *lazy, const FerryReturnMessage *message, GError **error)
{
    lazy->shut = message->status == 0;
    if (!lazy->shut)
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM,
                    "QEMU ended the load with status %u; its log says why", message->status);
    return lazy->shut;
}

static bool handle(Lazy *lazy, const FerryReturnMessage *message, GError **error)
{
    if (message->kind == FERRY_RETURN_PAGES)
        return ask(lazy, message, error);
    if (message->kind == FERRY_RETURN_SHUT)
        return end(lazy, message, error);
    return true;
}

typedef struct {
    uint8_t bytes[4096];
    size_t length;
    FerryReturnPath path;
} Input;

static bool read_more(const Lazy *lazy, Input *input, GError **error)
{
    ssize_t n;
    do
        n = read(lazy->fd, input->bytes + input->length, sizeof(input->bytes) - input->length);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        input->length += (size_t)n;
        return true;
    }
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM,
                "QEMU ended the connection before it had loaded everything (%s); its log says why",
                n == 0 ? "end of stream" : g_strerror(errno));
    return false;
}

static bool handle_input(Lazy *lazy, Input *input, GError **error)
{
    size_t at = 0;
    FerryReturnMessage message;
    ptrdiff_t used = 1;
    while (!lazy->shut && used > 0) {
        used = ferry_return_path_parse(&input->path, input->bytes + at, input->length - at,
                                       &message, error);
        if (used < 0 || (used > 0 && !handle(lazy, &message, error)))
            return false;
        at += (size_t)used;
    }
    input->length -= at;
    memmove(input->bytes, input->bytes + at, input->length);
    return true;
}

static gpointer listen_to_qemu(gpointer data)
{
    Lazy *lazy = data;
    Input input = {0};
    GError *error = NULL;
    while (!lazy->shut && read_more(lazy, &input, &error) && handle_input(lazy, &input, &error))
        ;
    if (error != NULL)
        ferry_lazy_send_fail(lazy->send, error);
    return NULL;
}

// --- the load ---

static bool begin(Lazy *lazy, GError **error)
{
    if (!ferry_stream_out_lazy_head(lazy->out, error))
        return false;
    lazy->listener = g_thread_new("return-path", listen_to_qemu, lazy);
    return ferry_stream_out_package(lazy->out, ferry_image_reader_tail(lazy->reader), error);
}

// QEMU repeats the requests that were not answered once it has read that it goes on.
static bool begin_again(Lazy *lazy, GError **error)
{
    if (!ferry_lazy_resume(lazy->fd, lazy->out, ferry_image_reader_descriptor(lazy->reader),
                           lazy->send, error))
        return false;
    lazy->listener = g_thread_new("return-path", listen_to_qemu, lazy);
    return ferry_stream_out_resume(lazy->out, error);
}

static void start(Lazy *lazy)
{
    ferry_stream_out_limit(lazy->out, BULK_BYTES);
    ferry_lazy_send_start(lazy->send);
    lazy->events->running(lazy->env);
}

static bool send_hot(Lazy *lazy, GError **error)
{
    g_autoptr(GArray) hot = ferry_image_reader_hot(lazy->reader, error);
    if (hot != NULL)
        ferry_lazy_send_hot(lazy->send, hot);
    return hot != NULL;
}

static bool send_pages(Lazy *lazy, GError **error)
{
    start(lazy);
    if (!send_hot(lazy, error))
        return false;
    FerryLoadProgress progress = {
        .bytes_total = ferry_image_reader_record(lazy->reader)->image.present_pages * FERRY_PAGE};
    FerryLazyState state;
    while ((state = ferry_lazy_send_wait(lazy->send, PROGRESS_US, &progress.bytes_sent, error)) ==
           FERRY_LAZY_GOES_ON)
        lazy->events->progress(&progress, lazy->env);
    if (state != FERRY_LAZY_SENT)
        return false;
    ferry_lazy_send_stop(lazy->send);
    lazy->events->progress(&progress, lazy->env);
    return ferry_image_reader_check(lazy->reader, error);
}

static bool finish(Lazy *lazy, GError **error)
{
    if (!ferry_stream_out_lazy_end(lazy->out, error))
        return false;
    g_clear_pointer(&lazy->listener, g_thread_join);
    uint64_t bytes;
    return ferry_lazy_send_wait(lazy->send, 0, &bytes, error) != FERRY_LAZY_FAILED;
}

static int compare(gconstpointer a, gconstpointer b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void summarize(GArray *latencies, FerryFaultStats *stats)
{
    *stats = (FerryFaultStats){.faults = latencies->len};
    if (latencies->len == 0)
        return;
    g_array_sort(latencies, compare);
    stats->p50_us = g_array_index(latencies, uint32_t, latencies->len / 2);
    guint p99 = (guint)((uint64_t)latencies->len * 99 / 100);
    stats->p99_us = g_array_index(latencies, uint32_t, p99);
    stats->max_us = g_array_index(latencies, uint32_t, latencies->len - 1);
}

typedef bool (*BeginFn)(Lazy *lazy, GError **error);

static bool load(FerryImageReader *reader, int fd, const FerryLazyEvents *events, void *env,
                 BeginFn begin_it, FerryFaultStats *stats, GError **error)
{
    g_autoptr(FerryStreamOut) out =
        ferry_stream_out_new(fd, ferry_image_reader_descriptor(reader));
    g_autoptr(FerryLazySend) send = ferry_lazy_send_new(reader, out);
    Lazy lazy = {reader, fd, out, send, events, env, false, NULL};
    bool fine = begin_it(&lazy, error) && send_pages(&lazy, error) && finish(&lazy, error);
    if (!fine)
        shutdown(fd, SHUT_RDWR); // whoever still reads or writes there gets an error
    ferry_lazy_send_stop(send);
    g_clear_pointer(&lazy.listener, g_thread_join);
    summarize(ferry_lazy_send_latencies(send), stats);
    return fine;
}

bool ferry_load_lazy(FerryImageReader *reader, int fd, const FerryLazyEvents *events, void *env,
                     FerryFaultStats *stats, GError **error)
{
    return load(reader, fd, events, env, begin, stats, error);
}

bool ferry_load_lazy_again(FerryImageReader *reader, int fd, const FerryLazyEvents *events,
                           void *env, FerryFaultStats *stats, GError **error)
{
    return load(reader, fd, events, env, begin_again, stats, error);
}
