// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/job_end.h"

#include "migrate/command/error.h"
#include "migrate/command/format.h"
#include "migrate/command/output.h"

#include <stdio.h>
#include <string.h>

char *job_end_move(json_t *result)
{
    g_autofree char *blackout =
        format_ms(json_number_value(json_object_get(result, "blackout_ms")));
    g_autofree char *total = format_ms(json_number_value(json_object_get(result, "total_ms")));
    g_autofree char *bytes =
        format_bytes(json_number_value(json_object_get(result, "bytes_written")));
    g_autofree char *passes =
        format_count(json_integer_value(json_object_get(result, "passes")), "pass", "passes");
    g_autofree char *expected = format_expected_blackout(result);
    return g_strdup_printf("%s -> %s, blackout %s%s%s%s, %s in all, %s written in %s",
                           output_text(result, "from"), output_text(result, "to"), blackout,
                           expected != NULL ? " (expected " : "", expected != NULL ? expected : "",
                           expected != NULL ? ")" : "", total, bytes, passes);
}

static char *describe(json_t *job)
{
    const char *kind = output_text(job, "kind");
    json_t *result = json_object_get(job, "result");
    const char *node = json_string_value(json_object_get(result, "node"));
    if (strcmp(kind, "migrate") == 0 && json_is_object(result))
        return job_end_move(result);
    if (strcmp(kind, "start") == 0)
        return g_strconcat("running", node != NULL ? " on " : "", node, NULL);
    if (strcmp(kind, "stop") == 0)
        return g_strdup("stopped");
    if (strcmp(kind, "save") == 0)
        return g_strdup("saved");
    return g_strconcat(kind, " done", NULL);
}

bool job_end_report(json_t *job, const Options *options, GError **error)
{
    const char *vm = output_text(job, "vm");
    if (options->json)
        output_json(job);
    if (strcmp(output_text(job, "state"), "done") != 0) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_JOB_FAILED, "%s of %s failed: %s",
                    output_text(job, "kind"), vm, output_text(job, "error"));
        return false;
    }
    if (!options->json) {
        g_autofree char *text = describe(job);
        printf("%s: %s\n", vm, text);
    }
    return true;
}
