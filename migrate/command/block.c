// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/block.h"

#include "migrate/command/output.h"

#include <stdarg.h>
#include <stdio.h>

enum { KEY_WIDTH = 16 };

void block_line(const char *key, const char *value)
{
    g_autofree char *clean = output_clean(value);
    printf("%-*s  %s\n", KEY_WIDTH, key, clean);
}

void block_format(const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *value = g_strdup_vprintf(format, args);
    va_end(args);
    block_line(key, value);
}
