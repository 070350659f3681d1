// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/hugepages.h"

#include <glib.h>

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static bool read_count(const char *path, uint64_t *count)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return false;
    *count = g_ascii_strtoull(text, NULL, 10);
    return true;
}

bool hv_hugepages_look(HvHugepages *pages)
{
    uint64_t total, free_pages, reserved;
    if (!read_count(POOL "nr_hugepages", &total) ||
        !read_count(POOL "free_hugepages", &free_pages) ||
        !read_count(POOL "resv_hugepages", &reserved))
        return false;
    *pages = (HvHugepages){total, free_pages > reserved ? free_pages - reserved : 0};
    return true;
}

const char *hv_hugepages_block(const HvDefinition *definition)
{
    return definition->hugepages ? HV_HUGEPAGE_BLOCK : NULL;
}
