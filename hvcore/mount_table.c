// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/mount_table.h"

#include <string.h>
#include <sys/sysmacros.h>

void hv_mount_clear(HvMount *mount)
{
    g_clear_pointer(&mount->point, g_free);
    g_clear_pointer(&mount->source, g_free);
    g_clear_pointer(&mount->fstype, g_free);
}

char *hv_mount_table(void)
{
    char *table = NULL;
    (void)g_file_get_contents("/proc/self/mountinfo", &table, NULL, NULL);
    return table;
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

// "\040" is a blank.
static char *unescape(const char *text)
{
    GString *result = g_string_new(NULL);
    while (*text) {
        if (text[0] == '\\' && is_octal(text[1]) && is_octal(text[2]) && is_octal(text[3])) {
            int code = (text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0');
            g_string_append_c(result, (char)(code & 0xff));
            text += 4;
        } else {
            g_string_append_c(result, *text++);
        }
    }
    return g_string_free(result, FALSE);
}

static bool parse_device(const char *text, dev_t *device)
{
    g_auto(GStrv) numbers = g_strsplit(text, ":", 2);
    guint64 upper, lower;
    if (g_strv_length(numbers) != 2 ||
        !g_ascii_string_to_unsigned(numbers[0], 10, 0, G_MAXUINT32, &upper, NULL) ||
        !g_ascii_string_to_unsigned(numbers[1], 10, 0, G_MAXUINT32, &lower, NULL))
        return false;
    *device = makedev((unsigned)upper, (unsigned)lower);
    return true;
}

enum { FIELD_DEVICE = 2, FIELD_POINT = 4, FIELDS_BEFORE = 6 };

// "36 35 98:0 /root /point options [optional...] - fstype source options"
static bool parse_line(const char *line, HvMount *mount)
{
    g_auto(GStrv) fields = g_strsplit(line, " ", -1);
    guint count = g_strv_length(fields), dash = FIELDS_BEFORE;
    HvMount found = {0};
    while (dash < count && strcmp(fields[dash], "-") != 0)
        dash++;
    if (dash + 2 >= count || !parse_device(fields[FIELD_DEVICE], &found.device))
        return false;
    found.point = unescape(fields[FIELD_POINT]);
    found.fstype = g_strdup(fields[dash + 1]);
    found.source = unescape(fields[dash + 2]);
    *mount = found;
    return true;
}

typedef bool (*Wanted)(const HvMount *mount, gconstpointer key);

static bool find(const char *table, Wanted wanted, gconstpointer key, HvMount *mount)
{
    g_auto(GStrv) lines = g_strsplit(table, "\n", -1);
    for (guint i = g_strv_length(lines); i > 0; i--) { // the last one lies on top
        g_auto(HvMount) each = {0};
        if (!parse_line(lines[i - 1], &each) || !wanted(&each, key))
            continue;
        *mount = each;
        each = (HvMount){0};
        return true;
    }
    return false;
}

static bool is_at(const HvMount *mount, gconstpointer key)
{
    return strcmp(mount->point, key) == 0;
}

static bool is_of(const HvMount *mount, gconstpointer key)
{
    return mount->device == *(const dev_t *)key;
}

bool hv_mount_at(const char *table, const char *point, HvMount *mount)
{
    return find(table, is_at, point, mount);
}

bool hv_mount_of(const char *table, dev_t device, HvMount *mount)
{
    return find(table, is_of, &device, mount);
}
