// SPDX-License-Identifier: GPL-2.0-or-later
// Reads a stream of server-sent events (text/event-stream, WHATWG HTML 9.2) piece by piece.
#pragma once

#include <glib.h>

// ID and DATA are borrowed; ID is NULL where the event has none.
typedef void (*SseEventFn)(const char *id, const char *data, gpointer user);

typedef struct {
    SseEventFn event;
    gpointer user;
    GString *line;
    GString *data;
    char *id;
} Sse;

void sse_init(Sse *sse, SseEventFn event, gpointer user);
void sse_clear(Sse *sse);
// FALSE where the stream is no sensible one (a line of megabytes).
gboolean sse_feed(Sse *sse, const char *bytes, gsize length);
