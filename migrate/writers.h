// SPDX-License-Identifier: GPL-2.0-or-later
// Threads that write extents into a state area. One thread hands extents out; writes of different
// places go on side by side, and two writes of one place keep their order, as the caller waits for
// the first. The first error ends everything: each later call returns it.
#pragma once

#include "migrate/area_io.h"

enum { FERRY_EXTENT = 1024 * 1024 };

typedef struct FerryWriters FerryWriters;

typedef struct {
    uint8_t *buffer;        // FERRY_EXTENT bytes, aligned
    uint64_t offset;        // in the area
    size_t bytes;           // multiple of FERRY_PAGE
    FerryIndexEntry *crcs;  // gets the CRC32C of each page; NULL = none wanted
} FerryExtent;

// Borrows AREA.
FerryWriters *ferry_writers_new(FerryArea *area, unsigned threads);
// Waits for what is under way.
void ferry_writers_free(FerryWriters *writers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryWriters, ferry_writers_free)

// A free extent with offset 0 and no bytes; waits for one. NULL: a write failed.
FerryExtent *ferry_writers_take(FerryWriters *writers, GError **error);
// Gives the extent to the threads. The caller has made sure that no extent under way overlaps it.
void ferry_writers_submit(FerryWriters *writers, FerryExtent *extent);
// Whether an extent under way overlaps these bytes of the area.
bool ferry_writers_busy(const FerryWriters *writers, uint64_t offset, uint64_t bytes);
// Waits until none does.
bool ferry_writers_settle(FerryWriters *writers, uint64_t offset, uint64_t bytes, GError **error);
// Waits for all.
bool ferry_writers_drain(FerryWriters *writers, GError **error);

uint64_t ferry_writers_bytes(const FerryWriters *writers); // written so far
