// SPDX-License-Identifier: GPL-2.0-or-later
// How far a job is, on standard error: a bar on a terminal, else a line for each new phase.
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

typedef struct {
    bool terminal;
    bool shown; // a bar stands on the line
    char *line; // the last one that was shown, without a terminal
    bool forecast_shown;
} Progress;

void progress_start(Progress *progress);
void progress_show(Progress *progress, json_t *job); // JOB as the API has it
// Instead, where nobody can tell.
void progress_note(Progress *progress, const char *text);
void progress_end(Progress *progress); // wipes the bar
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Progress, progress_end)
