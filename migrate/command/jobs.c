// SPDX-License-Identifier: GPL-2.0-or-later
// jobs: the running jobs and those of the last hour.
#include "migrate/command/commands.h"
#include "migrate/command/format.h"
#include "migrate/command/output.h"
#include "migrate/command/table.h"

#include <string.h>

static char *state_of(json_t *job)
{
    double done = json_number_value(json_object_get(job, "bytes_done"));
    double total = json_number_value(json_object_get(job, "bytes_total"));
    const char *state = output_text(job, "state");
    if (strcmp(state, "running") != 0)
        return g_strdup(state);
    if (total <= 0)
        return g_strdup(output_text(job, "phase"));
    return g_strdup_printf("%s %.0f%%", output_text(job, "phase"), MIN(100, done * 100 / total));
}

static void add_row(Table *table, json_t *job)
{
    g_autofree char *started = format_clock(json_string_value(json_object_get(job, "started")));
    g_autofree char *state = state_of(job);
    const char *error = json_string_value(json_object_get(job, "error"));
    table_add(table, output_text(job, "id"), started, output_text(job, "kind"),
              output_text(job, "vm"), output_text(job, "node"), state, error != NULL ? error : "");
}

bool command_jobs(Client *client, const Options *options, char **args, GError **error)
{
    // They are kept for an hour: the date says nothing.
    static const TableColumn columns[] = {
        {.heading = "JOB"},
        {.heading = "STARTED"},
        {.heading = "KIND"},
        {.heading = "VM", .may_shrink = true},
        {.heading = "NODE"},
        {.heading = "STATE"},
        {.heading = "ERROR", .may_wrap = true},
    };
    (void)args;
    json_t *jobs = client_get(client, "/v1/jobs", error);
    if (jobs == NULL)
        return false;
    g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
    size_t index;
    json_t *job;
    json_array_foreach(jobs, index, job) add_row(table, job);
    if (options->json)
        output_json(jobs);
    else
        table_print(table);
    json_decref(jobs);
    return true;
}
