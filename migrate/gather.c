// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/gather.h"

// How many of the N PAGES lie one behind the other.
static size_t run_length(const uint64_t *pages, size_t n)
{
    size_t length = 1;
    while (length < n && pages[length] == pages[0] + length)
        length++;
    return length;
}

static void take_one(FerryReads *reads, GError **failed)
{
    g_autoptr(GError) why = NULL;
    if (ferry_reads_next(reads, &why) == NULL)
        ferry_reads_wait(reads);
    if (why != NULL && *failed == NULL)
        *failed = g_steal_pointer(&why);
}

bool ferry_gather(FerryReads *reads, uint64_t base, const uint64_t *pages, size_t n,
                  uint8_t *buffer, GError **error)
{
    g_autoptr(GError) failed = NULL;
    for (size_t at = 0; at < n;) {
        size_t length = run_length(pages + at, n - at);
        while (ferry_reads_under_way(reads) >= FERRY_READS_MAX - 1)
            take_one(reads, &failed);
        ferry_reads_submit(reads, buffer + at * FERRY_PAGE, length * FERRY_PAGE,
                           base + pages[at] * FERRY_PAGE, reads);
        at += length;
    }
    while (ferry_reads_under_way(reads) > 0)
        take_one(reads, &failed);
    if (failed == NULL)
        return true;
    g_propagate_error(error, g_steal_pointer(&failed));
    return false;
}
