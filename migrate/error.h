// SPDX-License-Identifier: GPL-2.0-or-later
// migrate's one error domain; see hvcore/error.h for the contract.
#pragma once

#include <glib.h>

#define FERRY_ERROR (ferry_error_quark())
GQuark ferry_error_quark(void);

typedef enum {
    FERRY_ERROR_IO,       // the storage failed; the message has path, offset and errno
    FERRY_ERROR_FORMAT,   // not a state area, a version that is not known, or a broken header
    FERRY_ERROR_TOO_SMALL, // the area cannot hold this VM; the message has both sizes
    FERRY_ERROR_CORRUPT,  // a CRC32C does not match; nothing of it was used
    FERRY_ERROR_STATE,    // the record does not allow this step (state, epoch or owner)
    FERRY_ERROR_OTHER_VM, // the area belongs to another VM
    FERRY_ERROR_STREAM,   // QEMU's stream is not what this version understands
    FERRY_ERROR_CHILD,    // saver or pager ended before its work was done
    FERRY_ERROR_REFUSED,  // the other side said no; the message is its reason
    FERRY_ERROR_ABORTED,  // the move or save was given up; the guest runs on at the source
    FERRY_ERROR_LOST,     // the other side vanished
    FERRY_ERROR_TIMEOUT,
} FerryErrorCode;
