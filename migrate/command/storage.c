// SPDX-License-Identifier: GPL-2.0-or-later
// storage list|check|login|logout: what VMs' disks and state areas lie on, as each node has it.
#include "migrate/command/block.h"
#include "migrate/command/commands.h"
#include "migrate/command/error.h"
#include "migrate/command/format.h"
#include "migrate/command/output.h"
#include "migrate/command/table.h"

#include <stdio.h>
#include <string.h>

static const char *text(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static bool is_bad(json_t *entry)
{
    const char *state = text(entry, "state");
    return g_strcmp0(state, "failed") == 0 || g_strcmp0(state, "degraded") == 0;
}

// --- list ---

static void add_rows(Table *table, json_t *view)
{
    size_t index;
    json_t *entry;
    if (text(view, "error") != NULL)
        table_add(table, output_text(view, "vm"), output_text(view, "node"), "-", "-", "unknown", "-",
                  "-", output_text(view, "error"));
    json_array_foreach (json_object_get(view, "storage"), index, entry) {
        g_autofree char *size = format_mib(json_object_get(entry, "size_mib"));
        table_add(table, output_text(view, "vm"), output_text(view, "node"),
                  output_text(entry, "name"), output_text(entry, "type"),
                  output_text(entry, "state"), output_text(entry, "device"), size,
                  output_text(entry, "problem"));
    }
}

static void print_table(json_t *views)
{
    static const TableColumn columns[] = {
        {.heading = "VM", .may_shrink = true},
        {.heading = "NODE"},
        {.heading = "STORAGE"},
        {.heading = "TYPE"},
        {.heading = "STATE"},
        {.heading = "DEVICE"},
        {.heading = "SIZE", .right = true},
        {.heading = "PROBLEM", .may_wrap = true},
    };
    g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
    size_t index;
    json_t *view;
    json_array_foreach (views, index, view)
        add_rows(table, view);
    table_print(table);
}

// --- one VM's ---

static void print_path(json_t *path)
{
    const char *portal = text(path, "portal");
    block_format("  path", "%s%s%s: %s", output_text(path, "name"), portal != NULL ? " at " : "",
                 portal != NULL ? portal : "", output_text(path, "state"));
}

static void print_entry(json_t *entry)
{
    size_t index;
    json_t *path;
    g_autofree char *size = format_mib(json_object_get(entry, "size_mib"));
    block_format("storage", "%s (%s): %s", output_text(entry, "name"), output_text(entry, "type"),
                 output_text(entry, "state"));
    if (text(entry, "problem") != NULL)
        block_line("  problem", text(entry, "problem"));
    if (text(entry, "device") != NULL)
        block_format("  device", "%s, %s", text(entry, "device"), size);
    if (text(entry, "wwid") != NULL)
        block_line("  wwid", text(entry, "wwid"));
    block_line("  at", output_text(entry, "path"));
    json_array_foreach (json_object_get(entry, "paths"), index, path)
        print_path(path);
}

static void print_view(json_t *view)
{
    size_t index;
    json_t *entry;
    block_line("node", output_text(view, "node"));
    if (text(view, "error") != NULL)
        block_line("error", text(view, "error"));
    json_array_foreach (json_object_get(view, "storage"), index, entry)
        print_entry(entry);
}

static void print_views(json_t *views)
{
    size_t index;
    json_t *view;
    json_array_foreach (views, index, view) {
        if (index > 0)
            putchar('\n');
        print_view(view);
    }
}

// Whether no node has anything to complain of.
static bool all_good(json_t *views, GError **error)
{
    size_t i, j;
    json_t *view, *entry;
    bool good = true;
    json_array_foreach (views, i, view) {
        good = good && text(view, "error") == NULL;
        json_array_foreach (json_object_get(view, "storage"), j, entry)
            good = good && !is_bad(entry);
    }
    if (!good)
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_FINDINGS, "storage is not as it should be");
    return good;
}

// Takes VIEWS (NULL: ERROR is set).
static bool show(const Options *options, json_t *views, void (*print)(json_t *views),
                 GError **error)
{
    if (views == NULL)
        return false;
    if (options->json)
        output_json(views);
    else
        print(views);
    bool good = all_good(views, error);
    json_decref(views);
    return good;
}

static bool list(Client *client, const Options *options, const char *vm, GError **error)
{
    g_autofree char *path = vm != NULL ? client_path("storage", vm, "") : g_strdup("/v1/storage");
    return show(options, client_get(client, path, error), print_table, error);
}

static bool check(Client *client, const Options *options, const char *vm, GError **error)
{
    g_autofree char *path = client_path("storage", vm, "");
    return show(options, client_get(client, path, error), print_views, error);
}

static bool change(Client *client, const Options *options, const char *vm, const char *verb,
                   GError **error)
{
    g_autofree char *suffix = g_strconcat("/", verb, NULL);
    g_autofree char *path = client_path("storage", vm, suffix);
    json_t *body = options->node != NULL ? json_pack("{s:s}", "node", options->node) : NULL;
    char *sent = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_t *views = client_send(client, "POST", path, sent, sent != NULL ? strlen(sent) : 0, error);
    json_decref(body);
    free(sent);
    return show(options, views, print_views, error);
}

static bool is_verb(const char *verb, GError **error)
{
    static const char *const verbs[] = {"list", "check", "login", "logout", NULL};
    if (g_strv_contains(verbs, verb))
        return true;
    g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE,
                "storage: \"%s\" is none of list, check, login, logout", verb);
    return false;
}

bool command_storage(Client *client, const Options *options, char **args, GError **error)
{
    const char *verb = args[0], *vm = args[1];
    bool changes = g_str_has_prefix(verb, "log");
    if (!is_verb(verb, error))
        return false;
    if (vm == NULL && strcmp(verb, "list") != 0)
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE, "storage %s: the VM is missing",
                    verb);
    else if (options->node != NULL && !changes)
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE, "--node is for login and logout");
    else if (changes)
        return change(client, options, vm, verb, error);
    else
        return strcmp(verb, "list") == 0 ? list(client, options, vm, error)
                                         : check(client, options, vm, error);
    return false;
}
