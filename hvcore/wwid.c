// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/wwid.h"

#include <glib.h>
#include <string.h>

// As udev replaces white space: none at the ends, "_" for each run of it.
static char *underscored(const char *prefix, const char *text)
{
    GString *result = g_string_new(prefix);
    bool gap = false;
    for (; *text; text++) {
        if (g_ascii_isspace(*text)) {
            gap = true;
            continue;
        }
        if (gap && result->len > strlen(prefix))
            g_string_append_c(result, '_');
        gap = false;
        g_string_append_c(result, *text);
    }
    return g_string_free(result, FALSE);
}

static char *lowered(const char *prefix, const char *text)
{
    g_autofree char *lower = g_ascii_strdown(text, -1);
    return g_strconcat(prefix, lower, NULL);
}

static bool is_hex(const char *text)
{
    return *text && strspn(text, "0123456789abcdefABCDEF") == strlen(text);
}

static const char *without_holders(const char *text)
{
    static const char *const holders[] = {"dm-uuid-mpath-", "mpath-", "scsi-"};
    for (size_t i = 0; i < G_N_ELEMENTS(holders);) {
        bool held = g_str_has_prefix(text, holders[i]);
        text += held ? strlen(holders[i]) : 0;
        i = held ? 0 : i + 1;
    }
    return text;
}

// Of its own result it makes the same.
char *hv_wwid_normalize(const char *name)
{
    static const struct {
        const char *prefix, *digit;
    } names[] = {{"wwn-0x", "3"}, {"0x", "3"}, {"naa.", "3"}, {"eui.", "2"}};
    const char *text = without_holders(name);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (g_str_has_prefix(text, names[i].prefix) && is_hex(text + strlen(names[i].prefix)))
            return lowered(names[i].digit, text + strlen(names[i].prefix));
    g_autofree char *vendors =
        g_str_has_prefix(text, "t10.") ? underscored("1", text + strlen("t10.")) : g_strdup(text);
    return is_hex(vendors) ? lowered("", vendors) : g_steal_pointer(&vendors);
}
