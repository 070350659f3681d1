// SPDX-License-Identifier: GPL-2.0-or-later
// hvcore's one error domain. Functions take GError **error last, leave outputs untouched on
// failure and name in the message the thing that is wrong and the remedy.
#pragma once

#include <glib.h>
#include <stdbool.h>

#define HV_ERROR (hv_error_quark())
GQuark hv_error_quark(void);

typedef enum {
    HV_ERROR_DEFINITION,  // the VM definition is not acceptable; nothing was touched
    HV_ERROR_RESOURCE,    // a disk, bridge or memory the definition names is not usable here
    HV_ERROR_START,       // QEMU could not be started; it is gone
    HV_ERROR_QMP,         // QEMU answered with an error; it is still there
    HV_ERROR_TIMEOUT,     // no answer within the deadline; the command's effect is unknown
    HV_ERROR_CLOSED,      // QEMU or its monitor went away
    HV_ERROR_NOT_RUNNING, // there is no such process, proven
    HV_ERROR_UNKNOWN,     // whether the process runs could not be found out
} HvErrorCode;

// Sets the error (CODE is an HvErrorCode, FORMAT as printf's) and is false, for `return`.
bool hv_refuse(GError **error, int code, const char *format, ...) G_GNUC_PRINTF(3, 4);
