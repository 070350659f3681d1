// SPDX-License-Identifier: GPL-2.0-or-later
// The eager way to restore: all pages go to QEMU before the guest runs.
#pragma once

#include "migrate/image_reader.h"

typedef struct {
    uint64_t bytes_sent;  // pages, as bytes
    uint64_t bytes_total; // all present pages
} FerryLoadProgress;

typedef void (*FerryLoadProgressFn)(const FerryLoadProgress *progress, void *env);

// Sends READER's image into FD, QEMU's incoming socket. Blocks.
bool ferry_load_eager(FerryImageReader *reader, int fd, FerryLoadProgressFn progress, void *env,
                      GError **error);
