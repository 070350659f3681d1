// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/progress.h"

#include "migrate/command/format.h"
#include "migrate/command/output.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR_MIN = 8, BAR_MAX = 30, DEFAULT_WIDTH = 80 };

void progress_start(Progress *progress)
{
    *progress = (Progress){.terminal = isatty(STDERR_FILENO)};
}

static int terminal_width(void)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : DEFAULT_WIDTH;
}

static void append_if_room(GString *text, int room, char *part)
{
    if ((int)(text->len + strlen(part)) <= room)
        g_string_append(text, part);
    g_free(part);
}

// " 62%  318 MiB of 512 MiB  210 MiB/s  1.2 s left", the last parts only where there is ROOM.
static char *figures(json_t *job, double done, double total, int room)
{
    GString *text = g_string_new(NULL);
    g_autofree char *bytes_done = format_bytes(done);
    g_autofree char *bytes_total = format_bytes(total);
    double rate = json_number_value(json_object_get(job, "rate"));
    json_t *eta = json_object_get(job, "eta_s");
    g_string_printf(text, "%3.0f%%  %s of %s", MIN(100, done * 100 / total), bytes_done,
                    bytes_total);
    if (rate > 0) {
        g_autofree char *bytes_rate = format_bytes(rate);
        append_if_room(text, room, g_strdup_printf("  %s/s", bytes_rate));
    }
    if (json_is_number(eta)) {
        g_autofree char *left = format_ms(json_number_value(eta) * 1000);
        append_if_room(text, room, g_strdup_printf("  %s left", left));
    }
    g_autofree char *expected = format_expected_blackout(job);
    if (expected != NULL)
        append_if_room(text, room, g_strdup_printf("  expected blackout %s", expected));
    return g_string_free(text, FALSE);
}

static char *bar(double done, double total, int width)
{
    int full = (int)(CLAMP(done / total, 0, 1) * width);
    g_autofree char *hashes = g_strnfill((gsize)full, '#');
    g_autofree char *dots = g_strnfill((gsize)(width - full), '.');
    return g_strconcat("[", hashes, dots, "]", NULL);
}

static void show_bar(json_t *job, const char *label)
{
    double done = json_number_value(json_object_get(job, "bytes_done"));
    double total = json_number_value(json_object_get(job, "bytes_total"));
    int width = terminal_width() - 1;
    g_autoptr(GString) line = g_string_new(label);
    if (total > 0) {
        g_autofree char *numbers = figures(job, done, total, width - (int)line->len - 2);
        int room = width - (int)(line->len + strlen(numbers)) - 6;
        g_autofree char *gauge =
            room >= BAR_MIN ? bar(done, total, MIN(room, BAR_MAX)) : g_strdup("");
        g_string_append_printf(line, "%s%s  %s", *gauge != '\0' ? "  " : "", gauge, numbers);
    }
    fprintf(stderr, "\r%.*s\033[K", width, line->str);
    fflush(stderr);
}

// Without a terminal: once for each new TEXT.
static void show_line(Progress *progress, const char *text)
{
    if (g_strcmp0(progress->line, text) == 0)
        return;
    fprintf(stderr, "%s\n", text);
    g_free(progress->line);
    progress->line = g_strdup(text);
}

// Without a terminal the forecast is shown once, as it was when the guest was paused.
static void show_forecast(Progress *progress, json_t *job, const char *phase)
{
    static const char *const later[] = {"pause", "load", "commit", "clean", NULL};
    g_autofree char *expected = format_expected_blackout(job);
    if (progress->forecast_shown || expected == NULL || !g_strv_contains(later, phase))
        return;
    progress->forecast_shown = true;
    g_autofree char *text = g_strdup_printf("%s %s: expected blackout %s", output_text(job, "kind"),
                                            output_text(job, "vm"), expected);
    g_autofree char *clean = output_clean(text);
    show_line(progress, clean);
}

void progress_show(Progress *progress, json_t *job)
{
    const char *phase = json_string_value(json_object_get(job, "phase"));
    g_autofree char *text =
        g_strdup_printf("%s %s: %s", output_text(job, "kind"), output_text(job, "vm"),
                        phase != NULL ? phase : "begins");
    g_autofree char *label = output_clean(text);
    if (progress->terminal)
        show_bar(job, label);
    else if (phase != NULL) {
        show_forecast(progress, job, phase);
        show_line(progress, label);
    }
    progress->shown = progress->terminal;
}

void progress_note(Progress *progress, const char *text)
{
    if (progress->terminal)
        show_bar(NULL, text);
    else
        show_line(progress, text);
    progress->shown = progress->terminal;
}

void progress_end(Progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
    g_clear_pointer(&progress->line, g_free);
}
