// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/child.h"
#include "migrate/saver.h"

#include <string.h>

struct FerrySaver {
    FerryChild *child;
    FerrySaverEvents events;
    gpointer data;
    bool over; // flushed or failed was told
};

static uint64_t number(json_t *event, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(event, key));
}

static FerrySaverProgress progress_from(json_t *event)
{
    return (FerrySaverProgress){
        .bytes_written = number(event, "bytes_written"),
        .bytes_pending = number(event, "bytes_pending"),
        .stream_bytes = number(event, "stream_bytes"),
        .pages_present = number(event, "pages_present"),
        .pages_zero = number(event, "pages_zero"),
        .passes = (uint32_t)number(event, "passes"),
        .ram_bytes = number(event, "ram_bytes"),
    };
}

static void tell_flushed(FerrySaver *saver, json_t *event)
{
    FerrySaverProgress progress = progress_from(event);
    FerryImage image = {
        .descriptor_offset = number(event, "descriptor_offset"),
        .descriptor_length = (uint32_t)number(event, "descriptor_length"),
        .descriptor_crc32c = (uint32_t)number(event, "descriptor_crc32c"),
        .ram_bytes = progress.ram_bytes,
        .present_pages = progress.pages_present,
        .passes = progress.passes,
    };
    saver->over = true;
    saver->events.flushed(saver, &image, &progress, saver->data);
}

static void fail(FerrySaver *saver, const GError *error)
{
    saver->over = true;
    saver->events.failed(saver, error, saver->data);
}

static void on_event(const char *name, json_t *event, gpointer data)
{
    FerrySaver *saver = data;
    if (saver->over) {
        g_debug("vmferry-saver said \"%s\" after its end", name);
    } else if (strcmp(name, "listening") == 0) {
        saver->events.listening(saver, saver->data);
    } else if (strcmp(name, "progress") == 0) {
        FerrySaverProgress progress = progress_from(event);
        saver->events.progress(saver, &progress, saver->data);
    } else if (strcmp(name, "flushed") == 0) {
        tell_flushed(saver, event);
    } else if (strcmp(name, "error") == 0) {
        g_autoptr(GError) error = ferry_child_error(event);
        fail(saver, error);
    }
}

static void on_ended(const GError *error, gpointer data)
{
    FerrySaver *saver = data;
    if (!saver->over)
        fail(saver, error);
}

static const FerryChildEvents child_events = {.event = on_event, .ended = on_ended};

FerrySaver *ferry_saver_start(const char *libexec_dir, const char *area_path,
                              const char *socket_path, uint64_t epoch,
                              const FerrySaverEvents *events, gpointer data, GError **error)
{
    g_autofree char *program = g_build_filename(libexec_dir, "vmferry-saver", NULL);
    g_autofree char *epoch_text = g_strdup_printf("%" G_GUINT64_FORMAT, epoch);
    const char *argv[] = {program,     "--area",  area_path,  "--socket",
                          socket_path, "--epoch", epoch_text, NULL};
    FerrySaver *saver = g_new0(FerrySaver, 1);
    *saver = (FerrySaver){.events = *events, .data = data};
    saver->child = ferry_child_start(argv, &child_events, saver, error);
    if (saver->child == NULL)
        g_clear_pointer(&saver, g_free);
    return saver;
}

void ferry_saver_ahead(FerrySaver *saver, uint64_t bytes)
{
    ferry_child_command(saver->child,
                        json_pack("{s:s, s:I}", "cmd", "ahead", "bytes", (json_int_t)bytes));
}

void ferry_saver_paused(FerrySaver *saver)
{
    ferry_child_command(saver->child, json_pack("{s:s}", "cmd", "paused"));
}

void ferry_saver_free(FerrySaver *saver)
{
    if (saver == NULL)
        return;
    ferry_child_free(saver->child);
    g_free(saver);
}
