// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOP_MAX = 1000 };

void fuzz_finding(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s:%d: FINDING: %s\n", file, line, text);
    abort();
}

void fuzz_check_error(bool ok, const GError *error)
{
    FUZZ_REQUIRE(ok == (error == NULL), "%s", ok ? "success, and an error" : "no error is set");
    if (error == NULL)
        return;
    FUZZ_REQUIRE(g_utf8_validate(error->message, -1, NULL), "an error's message is not UTF-8: %s",
                 error->message);
    FUZZ_REQUIRE(strlen(error->message) > 8, "an error's message says nothing: \"%s\"",
                 error->message);
}

void fuzz_check_error_names(bool ok, const GError *error, const char *thing)
{
    fuzz_check_error(ok, error);
    FUZZ_REQUIRE(error == NULL || strstr(error->message, thing) != NULL,
                 "an error does not name %s: \"%s\"", thing, error->message);
    FUZZ_REQUIRE(error == NULL || !g_str_has_suffix(error->message, ": "),
                 "an error has no reason: \"%s\"", error->message);
}

static void log_quietly(const char *domain, GLogLevelFlags level, const char *message,
                        gpointer data)
{
    (void)data;
    FUZZ_REQUIRE((level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL)) == 0, "%s: %s",
                 domain != NULL ? domain : "log", message);
}

void fuzz_log_quietly(void)
{
    g_log_set_default_handler(log_quietly, NULL);
}

// --- input ---

uint8_t fuzz_u8(FuzzInput *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

uint16_t fuzz_u16(FuzzInput *input)
{
    uint16_t low = fuzz_u8(input);
    return (uint16_t)(low | fuzz_u8(input) << 8);
}

uint32_t fuzz_u32(FuzzInput *input)
{
    uint32_t low = fuzz_u16(input);
    return low | (uint32_t)fuzz_u16(input) << 16;
}

const uint8_t *fuzz_bytes(FuzzInput *input, size_t size, size_t *taken)
{
    const uint8_t *bytes = input->data;
    *taken = MIN(size, input->size);
    if (*taken > 0)
        input->data += *taken;
    input->size -= *taken;
    return bytes;
}

char *fuzz_rest(FuzzInput *input)
{
    size_t length;
    const uint8_t *bytes = fuzz_bytes(input, input->size, &length);
    char *text = g_malloc(length + 1);
    if (length > 0)
        memcpy(text, bytes, length);
    text[length] = '\0';
    return text;
}

void fuzz_write_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "w");
    bool written = file != NULL && (size == 0 || fwrite(data, size, 1, file) == 1);
    FUZZ_REQUIRE(written && fclose(file) == 0, "%s cannot be written", path);
}

// --- main loop ---

void fuzz_run_loop(void)
{
    for (int i = 0; i < LOOP_MAX && g_main_context_iteration(NULL, FALSE); i++)
        ;
}

static gboolean never(gpointer data)
{
    (void)data;
    return G_SOURCE_REMOVE;
}

guint fuzz_sources_mark(void)
{
    guint mark = g_idle_add(never, NULL);
    g_source_remove(mark);
    return mark;
}

void fuzz_sources_drop(guint mark)
{
    guint end = fuzz_sources_mark();
    for (guint id = mark; id < end; id++) {
        GSource *source = g_main_context_find_source_by_id(NULL, id);
        if (source != NULL)
            g_source_destroy(source);
    }
}
