// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/load_lazy.h"

#include "migrate/lazy_resume.h"
#include "migrate/lazy_send.h"
#include "migrate/return_path.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
    PROGRESS_US = 200 * 1000,
    // Between us and QEMU: a fault's page waits behind that much bulk at most.
    BULK_BYTES = 64 * 1024,
};

typedef struct {
    uint8_t bytes[4096];
    size_t length;
    FerryReturnPath path;
} Input;

typedef struct {
    FerryImageReader *reader;
    const FerryLazyLoad *load;
    const FerryLazyEvents *events;
    void *env;
    FerryStreamOut *out;
    FerryLazySend *send;
    Input input;
    gint64 looked_at; // for input, the last time
    gint64 told_at;
    uint64_t indexed; // index blocks from the first on that were read for the check
    bool shut;        // QEMU has everything
} Lazy;

// --- what QEMU says ---

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
                          message->length / FERRY_PAGE, lazy->looked_at);
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

// Waits for input where WAIT; otherwise there may be none.
static bool read_more(Lazy *lazy, bool wait, GError **error)
{
    Input *input = &lazy->input;
    ssize_t n;
    do
        n = recv(lazy->load->fd, input->bytes + input->length,
                 sizeof(input->bytes) - input->length, wait ? 0 : MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        input->length += (size_t)n;
        return true;
    }
    if (n < 0 && errno == EAGAIN)
        return true;
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM,
                "QEMU ended the connection before it had loaded everything (%s); its log says why",
                n == 0 ? "end of stream" : g_strerror(errno));
    return false;
}

static bool handle_input(Lazy *lazy, GError **error)
{
    Input *input = &lazy->input;
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

static bool listen_to_qemu(Lazy *lazy, GError **error)
{
    bool fine = read_more(lazy, false, error) && handle_input(lazy, error);
    lazy->looked_at = g_get_monotonic_time();
    return fine;
}

// --- the beginning ---

static void mark_loaded(Lazy *lazy)
{
    uint64_t n;
    for (uint64_t page = 0; (n = ferry_load_ahead_run_from(lazy->load->ahead, &page)) > 0; page += n)
        ferry_lazy_send_known(lazy->send, page, n);
}

// Takes what was sent ahead, if anything was.
static bool take_over(Lazy *lazy, GError **error)
{
    g_autoptr(GError) failed = NULL;
    if (lazy->load->ahead != NULL)
        lazy->out = ferry_load_ahead_settle(lazy->load->ahead, lazy->reader, &failed);
    if (failed != NULL) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    if (lazy->out != NULL)
        return true;
    lazy->out =
        ferry_stream_out_new(lazy->load->fd, ferry_image_reader_descriptor(lazy->reader));
    return ferry_stream_out_lazy_head(lazy->out, error);
}

static void new_send(Lazy *lazy)
{
    lazy->send = ferry_lazy_send_new(lazy->reader, lazy->load->reads, lazy->out,
                                     lazy->load->linear);
    lazy->looked_at = g_get_monotonic_time();
}

static bool begin(Lazy *lazy, GError **error)
{
    if (!take_over(lazy, error) ||
        !ferry_stream_out_package(lazy->out, ferry_image_reader_tail(lazy->reader), error))
        return false;
    new_send(lazy);
    if (lazy->load->ahead != NULL)
        mark_loaded(lazy);
    return true;
}

// QEMU repeats the requests that were not answered once it has read that it goes on.
static bool begin_again(Lazy *lazy, GError **error)
{
    const FerryDescriptor *descriptor = ferry_image_reader_descriptor(lazy->reader);
    lazy->out = ferry_stream_out_new(lazy->load->fd, descriptor);
    new_send(lazy);
    return ferry_lazy_resume(lazy->load->fd, lazy->out, descriptor, lazy->send, error) &&
           ferry_stream_out_resume(lazy->out, error);
}

// --- the pages ---

static bool send_hot(Lazy *lazy, GError **error)
{
    if (lazy->load->linear)
        return true;
    g_autoptr(GArray) hot = ferry_image_reader_hot(lazy->reader, error);
    if (hot != NULL)
        ferry_lazy_send_hot(lazy->send, hot);
    return hot != NULL;
}

static void tell_progress(Lazy *lazy)
{
    gint64 now = g_get_monotonic_time();
    if (now - lazy->told_at < PROGRESS_US)
        return;
    lazy->told_at = now;
    lazy->events->progress(
        &(FerryLoadProgress){
            .bytes_sent = ferry_lazy_send_bytes(lazy->send),
            .bytes_total =
                ferry_image_reader_record(lazy->reader)->image.present_pages * FERRY_PAGE},
        lazy->env);
}

static bool obey(Lazy *lazy, GError **error)
{
    json_t *command;
    while (lazy->load->commands != NULL &&
           (command = ferry_commands_next(lazy->load->commands, error)) != NULL) {
        if (strcmp(json_string_value(json_object_get(command, "cmd")), "hurry") == 0)
            ferry_lazy_send_hurry(lazy->send);
        json_decref(command);
    }
    return *error == NULL;
}

// Until storage, guest or agent have something for us, or it is time to tell how it goes.
static void wait_for_more(Lazy *lazy, int wait_ms)
{
    struct pollfd inputs[] = {
        {.fd = lazy->load->fd, .events = POLLIN},
        {.fd = ferry_reads_fd(lazy->load->reads), .events = POLLIN},
        {.fd = lazy->load->commands != NULL ? ferry_commands_fd(lazy->load->commands) : -1,
         .events = POLLIN},
    };
    if (inputs[1].fd >= 0 || ferry_reads_under_way(lazy->load->reads) == 0)
        poll(inputs, G_N_ELEMENTS(inputs), wait_ms);
    lazy->looked_at = g_get_monotonic_time(); // nothing had come before it ended
}

// Behind the pages, and with the guest answered in between: what is left of the index.
static bool check_some(Lazy *lazy, GError **error)
{
    enum { BLOCKS = 16 };
    const FerryDescriptor *descriptor = ferry_image_reader_descriptor(lazy->reader);
    for (uint64_t end = lazy->indexed + BLOCKS;
         lazy->indexed < MIN(end, descriptor->index_blocks); lazy->indexed++)
        if (!ferry_image_reader_need(lazy->reader, lazy->indexed * FERRY_ENTRIES, 1, error))
            return false;
    return true;
}

static bool send_pages(Lazy *lazy, GError **error)
{
    const FerryDescriptor *descriptor = ferry_image_reader_descriptor(lazy->reader);
    bool idle = false, done = false;
    int wait_ms = 0;
    while (!done) {
        g_autoptr(GError) failed = NULL;
        bool fine = listen_to_qemu(lazy, &failed) && obey(lazy, &failed) &&
                    ferry_lazy_send_step(lazy->send, &idle, &wait_ms, &failed);
        bool sent = fine && ferry_lazy_send_done(lazy->send);
        if (sent)
            fine = check_some(lazy, &failed);
        else if (fine && idle)
            wait_for_more(lazy, wait_ms);
        if (!fine) {
            g_propagate_error(error, g_steal_pointer(&failed));
            return false;
        }
        done = sent && lazy->indexed == descriptor->index_blocks;
        tell_progress(lazy);
    }
    lazy->told_at = 0;
    tell_progress(lazy);
    return ferry_image_reader_check(lazy->reader, error) &&
           (lazy->load->ahead == NULL ||
            ferry_load_ahead_verify(lazy->load->ahead, lazy->reader, error));
}

// What the guest asks for now is on its way, or zero.
static bool finish(Lazy *lazy, GError **error)
{
    if (!ferry_stream_out_lazy_end(lazy->out, error))
        return false;
    while (!lazy->shut)
        if (!read_more(lazy, true, error) || !handle_input(lazy, error))
            return false;
    return true;
}

// --- how long the guest waited ---

static int compare(gconstpointer a, gconstpointer b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint64_t percentile(const GArray *sorted, unsigned per_mille)
{
    return g_array_index(sorted, uint32_t, (guint)((uint64_t)sorted->len * per_mille / 1000));
}

static void summarize(GArray *latencies, FerryFaultStats *stats)
{
    *stats = (FerryFaultStats){.faults = latencies->len};
    if (latencies->len == 0)
        return;
    g_array_sort(latencies, compare);
    stats->p50_us = percentile(latencies, 500);
    stats->p99_us = percentile(latencies, 990);
    stats->p999_us = percentile(latencies, 999);
    stats->max_us = g_array_index(latencies, uint32_t, latencies->len - 1);
}

typedef bool (*BeginFn)(Lazy *lazy, GError **error);

static bool load_with(BeginFn begin_it, const FerryLazyLoad *load, const FerryLazyEvents *events,
                      void *env, FerryFaultStats *stats, GError **error)
{
    Lazy lazy = {.reader = load->reader, .load = load, .events = events, .env = env};
    bool fine = begin_it(&lazy, error);
    if (fine) {
        ferry_stream_out_limit(lazy.out, BULK_BYTES);
        events->running(env);
        fine = send_hot(&lazy, error) && send_pages(&lazy, error) && finish(&lazy, error);
        summarize(ferry_lazy_send_latencies(lazy.send), stats);
    }
    if (!fine)
        shutdown(load->fd, SHUT_RDWR); // QEMU learns it at once
    ferry_lazy_send_free(lazy.send);
    ferry_stream_out_free(lazy.out);
    return fine;
}

bool ferry_load_lazy(const FerryLazyLoad *load, const FerryLazyEvents *events, void *env,
                     FerryFaultStats *stats, GError **error)
{
    return load_with(begin, load, events, env, stats, error);
}

bool ferry_load_lazy_again(const FerryLazyLoad *load, const FerryLazyEvents *events, void *env,
                           FerryFaultStats *stats, GError **error)
{
    return load_with(begin_again, load, events, env, stats, error);
}
