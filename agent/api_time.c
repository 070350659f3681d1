// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/api_time.h"

#include <glib.h>

json_t *api_time_now(void)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *seconds = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
    return json_sprintf("%s.%03dZ", seconds, g_date_time_get_microsecond(now) / 1000);
}
