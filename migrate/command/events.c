// SPDX-License-Identifier: GPL-2.0-or-later
// events: what happened in the cluster.
#include "migrate/command/events.h"

#include "migrate/command/commands.h"
#include "migrate/command/format.h"
#include "migrate/command/output.h"

#include <stdio.h>

void events_print(json_t *event, const Options *options)
{
    if (options->json) {
        output_json_line(event);
        return;
    }
    g_autofree char *time = format_time(json_string_value(json_object_get(event, "time")));
    g_autofree char *line = g_strdup_printf(
        "%s  %-8s  %-7s  %-12s  %s", time, output_text(event, "node"), output_text(event, "level"),
        output_text(event, "vm"), output_text(event, "message"));
    g_autofree char *clean = output_clean(line);
    printf("%s\n", clean);
    fflush(stdout);
}

bool command_events(Client *client, const Options *options, char **args, GError **error)
{
    (void)args;
    if (options->follow)
        return events_follow(client, options, error);
    g_autofree char *path =
        options->since >= 0 ? g_strdup_printf("/v1/events?since=%" G_GINT64_FORMAT, options->since)
                            : g_strdup("/v1/events");
    json_t *events = client_get(client, path, error);
    if (events == NULL)
        return false;
    size_t index;
    json_t *event;
    json_array_foreach(events, index, event) events_print(event, options);
    json_decref(events);
    return true;
}
