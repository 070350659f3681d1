// SPDX-License-Identifier: GPL-2.0-or-later
// The command's stream of events: the same events however the bytes arrive.
#include "tests/fuzz/fuzz.h"

#include "migrate/command/sse.h"

static void note(const char *id, const char *data, gpointer user)
{
    FUZZ_REQUIRE(data[0] != '\0', "an event without data");
    g_string_append_printf(user, "<%s|%s>", id != NULL ? id : "", data);
}

// PIECE 0: all at once.
static GString *events_of(const uint8_t *data, size_t size, size_t piece)
{
    GString *events = g_string_new(NULL);
    Sse sse;
    sse_init(&sse, note, events);
    for (size_t at = 0; at < size;) {
        size_t length = piece > 0 ? MIN(piece, size - at) : size;
        g_autofree char *copy = g_memdup2(data + at, length);
        FUZZ_REQUIRE(sse_feed(&sse, copy, length), "a short stream is refused");
        at += length;
    }
    sse_clear(&sse);
    return events;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    GString *whole = events_of(data + 1, size - 1, 0);
    GString *pieces = events_of(data + 1, size - 1, 1 + data[0] % 16);
    FUZZ_REQUIRE(g_string_equal(whole, pieces), "\"%s\" and \"%s\"", whole->str, pieces->str);
    g_string_free(whole, TRUE);
    g_string_free(pieces, TRUE);
    return 0;
}
