// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/freshen.h"

#include "migrate/gather.h"

#include <stdlib.h>

static int compare(gconstpointer a, gconstpointer b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool need_index(FerryImageReader *reader, const GArray *pages, GError **error)
{
    for (guint i = 0; i < pages->len; i++)
        if (!ferry_image_reader_need(reader, g_array_index(pages, uint64_t, i), 1, error))
            return false;
    return true;
}

// Sends PAGES' zero pages and returns the others.
static GArray *send_zero_pages(const FerryImageReader *reader, FerryStreamOut *out,
                               const GArray *pages, GError **error)
{
    g_autoptr(GArray) present = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    for (guint i = 0; i < pages->len; i++) {
        uint64_t page = g_array_index(pages, uint64_t, i);
        if (ferry_image_reader_state(reader, page) == FERRY_PAGE_PRESENT)
            g_array_append_val(present, page);
        else if (!ferry_stream_out_zero(out, page, error))
            return NULL;
    }
    return g_steal_pointer(&present);
}

static bool send_present(FerryImageReader *reader, FerryReads *reads, FerryStreamOut *out,
                         const GArray *present, GError **error)
{
    const uint64_t *pages = (const uint64_t *)(const void *)present->data;
    size_t bytes = (size_t)present->len * FERRY_PAGE;
    uint8_t *buffer = ferry_buffer_new(MAX(bytes, (size_t)FERRY_PAGE));
    bool fine = ferry_gather(reads, ferry_image_reader_offset(reader, 0), pages, present->len,
                             buffer, error);
    ferry_image_reader_count(reader, bytes);
    for (guint i = 0; fine && i < present->len; i++) {
        const uint8_t *page = buffer + (size_t)i * FERRY_PAGE;
        fine = ferry_image_reader_verify(reader, pages[i], page, error) &&
               ferry_stream_out_page(out, pages[i], page, error);
    }
    fine = fine && ferry_stream_out_part_end(out, error);
    free(buffer);
    return fine;
}

bool ferry_freshen(FerryImageReader *reader, FerryReads *reads, FerryStreamOut *out, GArray *pages,
                   GError **error)
{
    if (pages->len == 0)
        return true;
    g_array_sort(pages, compare);
    if (!need_index(reader, pages, error) || !ferry_stream_out_part(out, error))
        return false;
    g_autoptr(GArray) present = send_zero_pages(reader, out, pages, error);
    return present != NULL && send_present(reader, reads, out, present, error);
}
