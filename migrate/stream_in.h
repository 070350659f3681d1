// SPDX-License-Identifier: GPL-2.0-or-later
// Reads QEMU's outgoing precopy stream (QEMU-FACTS; migration/ram.c, savevm.c) and tells its parts in
// order. Nothing that the stream says is trusted: lengths are checked before they are used.
#pragma once

#include "migrate/image.h"

// Callbacks return false with ERROR set to end the reading. Pages are numbered through all blocks.
typedef struct {
    // The bytes of the configuration section, its type byte included.
    bool (*config)(void *env, const uint8_t *bytes, size_t length, GError **error);
    // All RAM blocks, once, before any page.
    bool (*blocks)(void *env, const FerryBlock *blocks, uint32_t n_blocks, uint64_t total_pages,
                   GError **error);
    bool (*zero)(void *env, uint64_t page, GError **error);
    // BYTES are borrowed for the call.
    bool (*page)(void *env, uint64_t page, const uint8_t *bytes, GError **error);
    // RAM is complete; the device state follows.
    bool (*ram_end)(void *env, GError **error);
    // Everything after RAM up to the stream's end; the first DEVICE_LENGTH bytes are the sections.
    bool (*tail)(void *env, const uint8_t *bytes, size_t length, size_t device_length,
                 GError **error);
} FerryStreamEvents;

// Reads up to BYTES; 0 at the end of the stream, -1 with errno.
typedef ssize_t (*FerryReadFn)(void *env, void *buffer, size_t bytes);

// Blocks until the end. FERRY_ERROR_STREAM: it was cut or is not understood.
bool ferry_stream_read(FerryReadFn read, void *read_env, const FerryStreamEvents *events,
                       void *env, GError **error);
