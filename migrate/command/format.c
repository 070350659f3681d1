// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/format.h"

char *format_bytes(double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    gsize unit = 0;
    while (bytes >= 1024 && unit + 1 < G_N_ELEMENTS(units)) {
        bytes /= 1024;
        unit++;
    }
    gboolean whole = bytes >= 100 || (bytes >= 0 && bytes == (double)(gint)bytes);
    return g_strdup_printf(whole ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

char *format_ms(double ms)
{
    if (ms < 1000)
        return g_strdup_printf(ms < 10 ? "%.1f ms" : "%.0f ms", ms);
    if (ms < 120000)
        return g_strdup_printf("%.1f s", ms / 1000);
    guint64 seconds = (guint64)MIN(ms / 1000, 1e15); // whatever a node says
    return g_strdup_printf("%" G_GUINT64_FORMAT " min %" G_GUINT64_FORMAT " s", seconds / 60,
                           seconds % 60);
}

char *format_expected_blackout(json_t *object)
{
    json_t *expected = json_object_get(object, "expected_blackout_ms");
    json_t *margin = json_object_get(object, "expected_blackout_margin_ms");
    if (!json_is_number(expected) || !json_is_number(margin))
        return NULL;
    g_autofree char *expected_text = format_ms(json_number_value(expected));
    g_autofree char *margin_text = format_ms(json_number_value(margin));
    return g_strdup_printf("%s +- %s", expected_text, margin_text);
}

char *format_mib(json_t *mib)
{
    return json_is_number(mib) ? format_bytes(json_number_value(mib) * 1048576) : g_strdup("-");
}

static char *format_local(const char *iso, const char *format)
{
    if (iso == NULL)
        return g_strdup("-");
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(iso, utc);
    g_autoptr(GDateTime) local = time != NULL ? g_date_time_to_local(time) : NULL;
    return local != NULL ? g_date_time_format(local, format) : g_strdup(iso);
}

char *format_time(const char *iso)
{
    return format_local(iso, "%Y-%m-%d %H:%M:%S");
}

char *format_clock(const char *iso)
{
    return format_local(iso, "%H:%M:%S");
}

char *format_count(json_int_t count, const char *one, const char *many)
{
    return g_strdup_printf("%" JSON_INTEGER_FORMAT " %s", count, count == 1 ? one : many);
}
