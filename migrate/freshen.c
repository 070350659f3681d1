// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/freshen.h"

#include <stdlib.h>

typedef struct {
    FerryImageReader *reader;
    FerryReads *reads;
    const uint64_t *pages;
    guint n, asked;
    uint8_t *buffer; // PAGES' contents, in their order
} Freshen;

static int compare(gconstpointer a, gconstpointer b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_zero(const Freshen *fresh, guint i)
{
    return ferry_image_reader_state(fresh->reader, fresh->pages[i]) != FERRY_PAGE_PRESENT;
}

static uint8_t *place(const Freshen *fresh, guint i)
{
    return fresh->buffer + (size_t)i * FERRY_PAGE;
}

static bool need_index(const Freshen *fresh, GError **error)
{
    for (guint i = 0; i < fresh->n; i++)
        if (!ferry_image_reader_need(fresh->reader, fresh->pages[i], 1, error))
            return false;
    return true;
}

// The next pages that lie side by side.
static void ask_run(Freshen *fresh)
{
    guint first = fresh->asked++;
    if (is_zero(fresh, first))
        return;
    while (fresh->asked < fresh->n && !is_zero(fresh, fresh->asked) &&
           fresh->pages[fresh->asked] == fresh->pages[fresh->asked - 1] + 1)
        fresh->asked++;
    size_t bytes = (size_t)(fresh->asked - first) * FERRY_PAGE;
    ferry_image_reader_count(fresh->reader, bytes);
    ferry_reads_submit(fresh->reads, place(fresh, first), bytes,
                       ferry_image_reader_offset(fresh->reader, fresh->pages[first]), fresh);
}

// All of them end, whatever comes of one: the buffer is theirs until then.
static bool read_all(Freshen *fresh, GError **error)
{
    g_autoptr(GError) failed = NULL;
    while (fresh->asked < fresh->n || ferry_reads_under_way(fresh->reads) > 0) {
        if (fresh->asked < fresh->n && ferry_reads_under_way(fresh->reads) < FERRY_READS_MAX - 1) {
            ask_run(fresh);
            continue;
        }
        g_autoptr(GError) why = NULL;
        if (ferry_reads_next(fresh->reads, &why) == NULL)
            ferry_reads_wait(fresh->reads);
        if (why != NULL && failed == NULL)
            failed = g_steal_pointer(&why);
    }
    if (failed == NULL)
        return true;
    g_propagate_error(error, g_steal_pointer(&failed));
    return false;
}

static bool send_all(const Freshen *fresh, FerryStreamOut *out, GError **error)
{
    if (!ferry_stream_out_part(out, error))
        return false;
    for (guint i = 0; i < fresh->n; i++) {
        uint64_t page = fresh->pages[i];
        bool fine = is_zero(fresh, i)
                        ? ferry_stream_out_zero(out, page, error)
                        : ferry_image_reader_verify(fresh->reader, page, place(fresh, i), error) &&
                              ferry_stream_out_page(out, page, place(fresh, i), error);
        if (!fine)
            return false;
    }
    return ferry_stream_out_part_end(out, error);
}

bool ferry_freshen(FerryImageReader *reader, FerryReads *reads, FerryStreamOut *out, GArray *pages,
                   GError **error)
{
    g_array_sort(pages, compare);
    Freshen fresh = {.reader = reader,
                     .reads = reads,
                     .pages = (const uint64_t *)(const void *)pages->data,
                     .n = pages->len};
    if (fresh.n == 0)
        return true;
    fresh.buffer = ferry_buffer_new((size_t)fresh.n * FERRY_PAGE);
    bool fine = need_index(&fresh, error) && read_all(&fresh, error) && send_all(&fresh, out, error);
    free(fresh.buffer);
    return fine;
}
