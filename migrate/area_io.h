// SPDX-License-Identifier: GPL-2.0-or-later
// The area's bytes, private to migrate/: aligned reads and writes for saver and pager. Reads and
// writes of different places may be made by several threads at the same time.
#pragma once

#include "migrate/area.h"
#include "migrate/image.h"

int ferry_area_fd(const FerryArea *area);
const char *ferry_area_path(const FerryArea *area);
uint64_t ferry_area_size(const FerryArea *area);

// BYTES rounded up to whole pages.
static inline size_t ferry_whole_pages(size_t bytes)
{
    return (bytes + FERRY_PAGE - 1) / FERRY_PAGE * FERRY_PAGE;
}

// Aligned for O_DIRECT; free() it.
void *ferry_buffer_new(size_t bytes);

// BUFFER, BYTES and OFFSET are multiples of FERRY_PAGE. All or nothing as the error says.
bool ferry_area_read(FerryArea *area, void *buffer, size_t bytes, uint64_t offset, GError **error);
bool ferry_area_write(FerryArea *area, const void *buffer, size_t bytes, uint64_t offset,
                      GError **error);
bool ferry_area_flush(FerryArea *area, GError **error);
