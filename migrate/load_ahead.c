// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/load_ahead.h"

#include "migrate/freshen.h"
#include "migrate/leash.h"
#include "migrate/preload.h"
#include "migrate/program.h"

#include <poll.h>

enum {
    ON_THE_WAY = 256 * 1024, // to QEMU, which the package has to wait for
    TELL_US = 25 * 1000, // between two words, which cost each node some work of its cluster's,
    TELL_MAX_US = 100 * 1000, // and with less than this to tell:
    TELL_BYTES = 16 * 1024 * 1024, // half of the leash
    FRESH_BYTES = 2 * 1024 * 1024, // at the seal, at most: some ms, also where storage is fast
};

struct FerryLoadAhead {
    FerryPreload *preload;
    FerryReads *reads;
    int fd;
    FerryCommands *commands; // while it runs
    FerryStreamOut *out; // NULL: QEMU was sent nothing
    bool in_part;
    uint64_t told;
    gint64 told_at;
    bool counts; // what was sent is of the image that was sealed
};

// --- what the preload finds ---

static bool on_begin(const FerryDescriptor *descriptor, void *env, GError **error)
{
    FerryLoadAhead *ahead = env;
    ahead->out = ferry_stream_out_new(ahead->fd, descriptor);
    ferry_stream_out_limit(ahead->out, ON_THE_WAY);
    return ferry_stream_out_lazy_head(ahead->out, error);
}

static bool on_page(uint64_t page, const uint8_t *bytes, void *env, GError **error)
{
    FerryLoadAhead *ahead = env;
    if (!ahead->in_part && !ferry_stream_out_part(ahead->out, error))
        return false;
    ahead->in_part = true;
    return bytes != NULL ? ferry_stream_out_page(ahead->out, page, bytes, error)
                         : ferry_stream_out_zero(ahead->out, page, error);
}

static bool on_flush(void *env, GError **error)
{
    FerryLoadAhead *ahead = env;
    if (!ahead->in_part)
        return true;
    ahead->in_part = false;
    return ferry_stream_out_part_end(ahead->out, error);
}

static bool has_command(void *env)
{
    FerryLoadAhead *ahead = env;
    struct pollfd input = {.fd = ferry_commands_fd(ahead->commands), .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

static const FerryPreloadEvents events = {on_begin, on_page, on_flush, has_command};

FerryLoadAhead *ferry_load_ahead_new(FerryArea *area, FerryReads *reads, int fd, uint64_t epoch)
{
    FerryLoadAhead *ahead = g_new0(FerryLoadAhead, 1);
    ahead->fd = fd;
    ahead->reads = reads;
    ahead->preload = ferry_preload_new(area, reads, epoch, &events, ahead);
    return ahead;
}

void ferry_load_ahead_free(FerryLoadAhead *ahead)
{
    if (ahead == NULL)
        return;
    ferry_preload_free(ahead->preload);
    ferry_stream_out_free(ahead->out);
    g_free(ahead);
}

static void tell_sometimes(FerryLoadAhead *ahead, void (*tell)(uint64_t bytes))
{
    gint64 now = g_get_monotonic_time();
    uint64_t bytes = ferry_leash_bytes(ferry_preload_taken(ahead->preload),
                                       ferry_preload_zeros(ahead->preload));
    gint64 wait_us = bytes - ahead->told < TELL_BYTES ? TELL_MAX_US : TELL_US;
    if (bytes == ahead->told || now - ahead->told_at < wait_us)
        return;
    ahead->told = bytes;
    ahead->told_at = now;
    tell(bytes);
}

bool ferry_load_ahead_run(FerryLoadAhead *ahead, FerryCommands *commands,
                          void (*tell)(uint64_t bytes), GError **error)
{
    int more_in_ms = 0;
    bool fine = true;
    ahead->commands = commands;
    ferry_program_give_way(true); // the source's guest may be on this computer, or another one is
    struct pollfd inputs[2] = {{.fd = ferry_commands_fd(commands), .events = POLLIN}};
    while (fine && inputs[0].revents == 0) {
        fine = ferry_preload_step(ahead->preload, g_get_monotonic_time(), &more_in_ms,
                                  error);
        inputs[1] = (struct pollfd){.fd = ferry_reads_fd(ahead->reads), .events = POLLIN};
        bool at_once = inputs[1].fd < 0 && ferry_reads_under_way(ahead->reads) > 0;
        tell_sometimes(ahead, tell);
        if (fine)
            poll(inputs, 2, at_once ? 0 : more_in_ms);
    }
    ferry_program_give_way(false);
    ferry_preload_stop(ahead->preload);
    return fine;
}

// --- after the seal ---

// The pages that changed last, as far as they can be had soon.
static bool freshen(FerryLoadAhead *ahead, FerryImageReader *reader, GError **error)
{
    g_autoptr(GArray) hot = ferry_image_reader_hot(reader, error);
    if (hot == NULL)
        return false;
    g_autoptr(GArray) pages = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    guint most = (guint)(MIN(ferry_preload_soon(ahead->preload), FRESH_BYTES) / FERRY_PAGE);
    for (guint i = 0; i < hot->len && pages->len < most; i++) {
        uint64_t page = g_array_index(hot, uint64_t, i);
        if (!ferry_preload_has(ahead->preload, page))
            g_array_append_val(pages, page);
    }
    if (!ferry_freshen(reader, ahead->reads, ahead->out, pages, error))
        return false;
    for (guint i = 0; i < pages->len; i++)
        ferry_preload_add(ahead->preload, reader, g_array_index(pages, uint64_t, i));
    return true;
}

// STALE but for those that are fresh by now.
static bool take_back(FerryLoadAhead *ahead, GArray *stale, GError **error)
{
    guint n = 0;
    uint64_t *pages = (uint64_t *)(void *)stale->data;
    for (guint i = 0; i < stale->len; i++)
        if (!ferry_preload_has(ahead->preload, pages[i]))
            pages[n++] = pages[i];
    return ferry_stream_out_discard(ahead->out, pages, n, error);
}

FerryStreamOut *ferry_load_ahead_settle(FerryLoadAhead *ahead, FerryImageReader *reader,
                                        GError **error)
{
    g_autoptr(GError) failed = NULL;
    g_autoptr(GArray) stale = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    if (ahead->out == NULL)
        return NULL;
    ahead->counts = ferry_preload_settle(ahead->preload, reader, stale, &failed);
    if (failed != NULL) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return NULL;
    }
    ferry_stream_out_image(ahead->out, ferry_image_reader_descriptor(reader));
    bool fine = ahead->counts ? freshen(ahead, reader, error) && take_back(ahead, stale, error)
                              : ferry_stream_out_discard_all(ahead->out, error);
    return fine ? g_steal_pointer(&ahead->out) : NULL;
}

uint64_t ferry_load_ahead_run_from(const FerryLoadAhead *ahead, uint64_t *page)
{
    return ahead->counts ? ferry_preload_run_from(ahead->preload, page) : 0;
}

bool ferry_load_ahead_verify(const FerryLoadAhead *ahead, FerryImageReader *reader,
                             GError **error)
{
    return !ahead->counts || ferry_preload_verify(ahead->preload, reader, error);
}

uint64_t ferry_load_ahead_bytes(const FerryLoadAhead *ahead)
{
    return ferry_preload_bytes(ahead->preload);
}
