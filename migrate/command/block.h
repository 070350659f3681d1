// SPDX-License-Identifier: GPL-2.0-or-later
// Key/value blocks: "state        running".
#pragma once

#include <glib.h>

void block_line(const char *key, const char *value);
void block_format(const char *key, const char *format, ...) G_GNUC_PRINTF(2, 3);
