// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/load_eager.h"

#include "migrate/read_ahead.h"
#include "migrate/stream_out.h"

enum {
    THREADS = 4,
    // A fresh QEMU's RAM is zero, but for its ROMs and what firmware may be given at its low end.
    EXPLICIT_ZERO_PAGES = 16 * 1024 * 1024 / FERRY_PAGE,
};

static const FerryBlock *largest_block(const FerryDescriptor *descriptor)
{
    const FerryBlock *largest = &descriptor->blocks[0];
    for (uint32_t i = 1; i < descriptor->n_blocks; i++)
        if (descriptor->blocks[i].length > largest->length)
            largest = &descriptor->blocks[i];
    return largest;
}

static bool send_block_zeros(FerryImageReader *reader, FerryStreamOut *out,
                             const FerryBlock *block, uint64_t pages, GError **error)
{
    for (uint64_t page = block->first_page; page < block->first_page + pages; page++)
        if (ferry_image_reader_state(reader, page) != FERRY_PAGE_PRESENT &&
            !ferry_stream_out_zero(out, page, error))
            return false;
    return true;
}

static bool send_zeros(FerryImageReader *reader, FerryStreamOut *out, GError **error)
{
    const FerryDescriptor *descriptor = ferry_image_reader_descriptor(reader);
    const FerryBlock *largest = largest_block(descriptor);
    for (uint32_t i = 0; i < descriptor->n_blocks; i++) {
        const FerryBlock *block = &descriptor->blocks[i];
        uint64_t pages = block->length / FERRY_PAGE;
        if (block == largest)
            pages = MIN(pages, (uint64_t)EXPLICIT_ZERO_PAGES);
        if (!send_block_zeros(reader, out, block, pages, error))
            return false;
    }
    return true;
}

static bool send_window(FerryImageReader *reader, FerryStreamOut *out, const FerryWindow *window,
                        uint64_t *bytes, GError **error)
{
    for (uint32_t i = 0; i < window->n_pages; i++) {
        if (ferry_image_reader_state(reader, window->first_page + i) != FERRY_PAGE_PRESENT)
            continue;
        if (!ferry_stream_out_page(out, window->first_page + i,
                                   window->buffer + (size_t)i * FERRY_PAGE, error))
            return false;
        *bytes += FERRY_PAGE;
    }
    return ferry_stream_out_flush(out, error); // the window's buffer is used again
}

bool ferry_load_eager(FerryImageReader *reader, int fd, FerryLoadProgressFn progress, void *env,
                      GError **error)
{
    const FerryDescriptor *descriptor = ferry_image_reader_descriptor(reader);
    g_autoptr(FerryStreamOut) out = ferry_stream_out_new(fd, descriptor);
    g_autoptr(FerryReadAhead) ahead = ferry_read_ahead_new(reader, THREADS);
    g_autoptr(GError) failed = NULL;
    FerryLoadProgress state = {
        .bytes_total = ferry_image_reader_record(reader)->image.present_pages * FERRY_PAGE};
    FerryWindow window;
    if (!ferry_stream_out_head(out, error) || !send_zeros(reader, out, error))
        return false;
    while (ferry_read_ahead_next(ahead, &window, &failed)) {
        if (!send_window(reader, out, &window, &state.bytes_sent, error))
            return false;
        progress(&state, env);
    }
    if (failed != NULL) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    return ferry_stream_out_tail(out, ferry_image_reader_tail(reader), error);
}
