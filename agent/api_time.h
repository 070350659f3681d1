// SPDX-License-Identifier: GPL-2.0-or-later
// Points in time as the API writes them.
#pragma once

#include <jansson.h>

// Now in UTC, RFC 3339 with milliseconds: "2026-01-31T12:00:00.123Z". A new reference.
json_t *api_time_now(void);
