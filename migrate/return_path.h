// SPDX-License-Identifier: GPL-2.0-or-later
// What a QEMU that loads lazily says on its return path (migration/migration.c, savevm.c). Pure: no
// I/O, any bytes are safe.
#pragma once

#include "migrate/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FERRY_RETURN_NAME = 256,         // bytes of a block's name with its end
    FERRY_RETURN_MAX = 4 + 12 + 256, // bytes of the longest message
};

typedef enum {
    FERRY_RETURN_SHUT,  // the load has ended; status 0 is success
    FERRY_RETURN_PAGES, // the guest waits for these
    FERRY_RETURN_BITMAP,     // of a block: what came; 8 bytes length, the bits and 8 bytes follow
    FERRY_RETURN_RESUME_ACK, // a paused load goes on; status is 1
    FERRY_RETURN_OTHER, // nothing to do
} FerryReturnKind;

typedef struct {
    FerryReturnKind kind;
    uint32_t status;
    uint64_t start;  // bytes within the block
    uint32_t length; // bytes
    char block[FERRY_RETURN_NAME];
} FerryReturnMessage;

// Between messages: the block that later requests without a name mean.
typedef struct {
    char block[FERRY_RETURN_NAME];
} FerryReturnPath;

// Takes one message from the beginning of BYTES. Returns how many bytes it used; 0: it is not
// complete yet; -1: ERROR (FERRY_ERROR_STREAM).
ptrdiff_t ferry_return_path_parse(FerryReturnPath *path, const uint8_t *bytes, size_t length,
                                  FerryReturnMessage *message, GError **error);
