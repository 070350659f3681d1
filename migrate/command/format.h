// SPDX-License-Identifier: GPL-2.0-or-later
// Figures as people read them. The caller frees the texts.
#pragma once

#include <glib.h>
#include <jansson.h>

char *format_bytes(double bytes);    // "512 MiB"
char *format_ms(double ms);          // "12 ms", "3.4 s", "2 min 5 s"
// "40 ms +- 10 ms" of OBJECT's expected_blackout_ms and _margin_ms; NULL where it has none.
char *format_expected_blackout(json_t *object);
char *format_mib(json_t *mib);       // "512 MiB", "2 GiB"; "-" where it is no number
char *format_time(const char *iso);  // local time, "2026-03-01 12:34:56"; ISO itself if it is none
char *format_clock(const char *iso); // the same, without the date
char *format_count(json_int_t count, const char *one, const char *many); // "1 pass", "3 passes"
