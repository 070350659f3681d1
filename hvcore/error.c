// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/error.h"

#include <stdarg.h>

G_DEFINE_QUARK(hv - error - quark, hv_error)

bool hv_refuse(GError **error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error_literal(error, HV_ERROR, code, text);
    return false;
}
