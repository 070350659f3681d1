// SPDX-License-Identifier: GPL-2.0-or-later
// A job as a node tells it, a line each, shown as a bar on a terminal and as lines without one.
#include "tests/fuzz/fuzz.h"

#include "migrate/command/progress.h"

#include <stdio.h>

static FILE *nowhere;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    nowhere = fopen("/dev/null", "w");
    FUZZ_REQUIRE(nowhere != NULL, "no /dev/null");
    return 0;
}

static void show(const char *line, Progress *progress)
{
    json_t *job = json_loads(line, 0, NULL);
    if (job != NULL)
        progress_show(progress, job);
    else
        progress_note(progress, "no node can tell how the job is");
    json_decref(job);
}

static void show_all(char **lines, bool terminal)
{
    g_auto(Progress) progress;
    progress_start(&progress);
    progress.terminal = terminal;
    for (char **line = lines; *line != NULL; line++)
        show(*line, &progress);
    FUZZ_REQUIRE(!terminal || progress.shown, "no bar");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = {data, size};
    g_autofree char *text = fuzz_rest(&input);
    g_auto(GStrv) lines = g_strsplit(text, "\n", 16);
    FILE *standard_error = stderr;
    if (lines[0] == NULL)
        return 0;
    stderr = nowhere;
    show_all(lines, true);
    show_all(lines, false);
    stderr = standard_error;
    return 0;
}
