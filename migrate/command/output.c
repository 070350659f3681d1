// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/output.h"

#include "migrate/command/error.h"

#include <stdio.h>

void output_json(json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    putchar('\n');
}

void output_json_line(json_t *json)
{
    json_dumpf(json, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
    fflush(stdout);
}

void output_error(const GError *error, bool json)
{
    g_autofree char *clean = output_clean(error->message);
    fprintf(stderr, "vmferry: %s\n", clean);
    if (!json)
        return;
    json_t *answer = json_pack("{s:{s:s, s:s}}", "error", "code", command_error_name(error),
                               "message", error->message);
    output_json(answer);
    json_decref(answer);
}

const char *output_text(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "-";
}

char *output_clean(const char *text)
{
    char *clean = g_utf8_make_valid(text, -1);
    for (char *byte = clean; *byte != '\0'; byte++)
        if (g_ascii_iscntrl(*byte))
            *byte = ' ';
    return clean;
}
