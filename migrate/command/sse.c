// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/sse.h"

#include <string.h>

enum { MAX_EVENT = 4 << 20 };

void sse_init(Sse *sse, SseEventFn event, gpointer user)
{
    *sse =
        (Sse){.event = event, .user = user, .line = g_string_new(NULL), .data = g_string_new(NULL)};
}

void sse_clear(Sse *sse)
{
    g_string_free(sse->line, TRUE);
    g_string_free(sse->data, TRUE);
    g_free(sse->id);
}

static void dispatch(Sse *sse)
{
    if (sse->data->len > 0)
        sse->event(sse->id, sse->data->str, sse->user);
    g_string_truncate(sse->data, 0);
    g_clear_pointer(&sse->id, g_free);
}

// The value behind "NAME:", less one space; NULL for another field.
static const char *field(const char *line, const char *name)
{
    gsize length = strlen(name);
    if (strncmp(line, name, length) != 0 || line[length] != ':')
        return NULL;
    return line[length + 1] == ' ' ? line + length + 2 : line + length + 1;
}

static void take_line(Sse *sse)
{
    const char *data = field(sse->line->str, "data");
    const char *id = field(sse->line->str, "id");
    if (data != NULL) {
        if (sse->data->len > 0)
            g_string_append_c(sse->data, '\n');
        g_string_append(sse->data, data);
    } else if (id != NULL) {
        g_free(sse->id);
        sse->id = g_strdup(id);
    }
}

gboolean sse_feed(Sse *sse, const char *bytes, gsize length)
{
    for (gsize i = 0; i < length; i++) {
        if (bytes[i] == '\r')
            continue;
        if (bytes[i] != '\n') {
            g_string_append_c(sse->line, bytes[i]);
            continue;
        }
        if (sse->line->len == 0)
            dispatch(sse);
        else
            take_line(sse);
        g_string_truncate(sse->line, 0);
    }
    return sse->line->len + sse->data->len <= MAX_EVENT;
}
