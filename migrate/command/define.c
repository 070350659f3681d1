// SPDX-License-Identifier: GPL-2.0-or-later
// define FILE|-: a VM from its definition.
#include "migrate/command/commands.h"
#include "migrate/command/error.h"
#include "migrate/command/job.h"
#include "migrate/command/output.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DEFINITION = 1 << 20 }; // the API's limit for a body

static GString *read_stdin(GError **error)
{
    GString *text = g_string_new(NULL);
    char chunk[4096];
    size_t length;
    while (text->len <= MAX_DEFINITION && (length = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        g_string_append_len(text, chunk, (gssize)length);
    if (!ferror(stdin))
        return text;
    g_string_free(text, TRUE);
    g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_FAILED, "standard input cannot be read");
    return NULL;
}

static GString *read_file(const char *path, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autofree char *text = NULL;
    gsize length = 0;
    if (g_file_get_contents(path, &text, &length, &cause))
        return g_string_new_len(text, (gssize)length);
    g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_FAILED, "the definition cannot be read: %s",
                cause->message);
    return NULL;
}

// The JSON of TEXT (new reference), if it is a definition at first sight; the rest is the agent's.
static json_t *check(const GString *text, const char *path, GError **error)
{
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    json_error_t fault;
    if (text->len > MAX_DEFINITION) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_INVALID,
                    "%s: a definition has 1 MiB at most", name);
        return NULL;
    }
    json_t *json = json_loadb(text->str, text->len, JSON_REJECT_DUPLICATES, &fault);
    if (json == NULL) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_INVALID, "%s, line %d, column %d: %s", name,
                    fault.line, fault.column, fault.text);
        return NULL;
    }
    if (json_is_string(json_object_get(json, "name")))
        return json;
    json_decref(json);
    g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_INVALID,
                "%s: a definition is a JSON object with a \"name\"", name);
    return NULL;
}

static void report(const Options *options, const char *name, json_t *reply)
{
    const char *pending = json_string_value(json_object_get(reply, "pending"));
    if (options->json)
        output_json(reply);
    else if (pending != NULL)
        printf("%s: changed; at its next start: %s\n", name, pending);
    else
        printf("%s: %s\n", name, options->update ? "changed" : "defined");
}

bool command_define(Client *client, const Options *options, char **args, GError **error)
{
    bool from_stdin = strcmp(args[0], "-") == 0;
    g_autoptr(GString) text = from_stdin ? read_stdin(error) : read_file(args[0], error);
    json_t *definition = text != NULL ? check(text, args[0], error) : NULL;
    if (definition == NULL)
        return false;
    g_autofree char *name = g_strdup(json_string_value(json_object_get(definition, "name")));
    json_decref(definition);
    g_autofree char *path = options->update     ? client_path("vms", name, "")
                            : options->no_start ? g_strdup("/v1/vms?start=false")
                                                : g_strdup("/v1/vms?start=true");
    json_t *reply =
        client_send(client, options->update ? "PUT" : "POST", path, text->str, text->len, error);
    bool done = reply != NULL;
    if (done && json_object_get(reply, "job") != NULL)
        done = job_follow(client, options, reply, error);
    else if (done)
        report(options, name, reply);
    json_decref(reply);
    return done;
}
