// SPDX-License-Identifier: GPL-2.0-or-later
// Reads all present pages of an image in order, several threads ahead of the one who uses them.
#pragma once

#include "migrate/image_reader.h"

enum { FERRY_WINDOW = 256 }; // pages: 1 MiB

typedef struct FerryReadAhead FerryReadAhead;

// The pages of one aligned stretch of FERRY_WINDOW; those that are not present hold nothing.
typedef struct {
    uint64_t first_page;
    uint32_t n_pages;
    const uint8_t *buffer;
} FerryWindow;

// Borrows READER.
FerryReadAhead *ferry_read_ahead_new(FerryImageReader *reader, unsigned threads);
void ferry_read_ahead_free(FerryReadAhead *ahead);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryReadAhead, ferry_read_ahead_free)

// The next window that has present pages, valid until the next call. False: the end, or ERROR.
bool ferry_read_ahead_next(FerryReadAhead *ahead, FerryWindow *window, GError **error);
