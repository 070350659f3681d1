// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/options.h"

#include "migrate/command/error.h"

#include <string.h>

static void add_global(GOptionContext *context, Options *options)
{
    const GOptionEntry entries[] = {
        {"json", 0, 0, G_OPTION_ARG_NONE, &options->json, "Print the API's JSON", NULL},
        {"url", 0, 0, G_OPTION_ARG_STRING, &options->url,
         "Nodes to ask, in this order: http://HOST:PORT or unix:/PATH", "URL[,URL...]"},
        {"token-file", 0, 0, G_OPTION_ARG_FILENAME, &options->token_file,
         "File with the API's token", "FILE"},
        {"no-wait", 0, 0, G_OPTION_ARG_NONE, &options->no_wait,
         "Print the job's id and return at once", NULL},
        {"help", 'h', 0, G_OPTION_ARG_NONE, &options->help, "Show help", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Show the version", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_option_context_add_main_entries(context, entries, NULL);
}

static void add_command(GOptionContext *context, Options *options, OptionMask mask)
{
    const struct {
        OptionMask mask;
        GOptionEntry entry;
    } all[] = {
        {OPTION_UPDATE,
         {"update", 0, 0, G_OPTION_ARG_NONE, &options->update, "Change a VM that exists", NULL}},
        {OPTION_NO_START,
         {"no-start", 0, 0, G_OPTION_ARG_NONE, &options->no_start, "Leave it stopped", NULL}},
        {OPTION_STOP_MODE,
         {"save", 0, 0, G_OPTION_ARG_NONE, &options->save, "Keep its memory on storage", NULL}},
        {OPTION_STOP_MODE,
         {"shutdown", 0, 0, G_OPTION_ARG_NONE, &options->shutdown, "Ask the guest to shut down",
          NULL}},
        {OPTION_STOP_MODE,
         {"poweroff", 0, 0, G_OPTION_ARG_NONE, &options->poweroff, "Cut its power", NULL}},
        {OPTION_TO,
         {"to", 0, 0, G_OPTION_ARG_STRING, &options->to,
          "Node to move to (default: the best that passes the rehearsal)", "NODE"}},
        {OPTION_NODE,
         {"node", 0, 0, G_OPTION_ARG_STRING, &options->node, "Only on this node (default: on all)",
          "NODE"}},
        {OPTION_FOLLOW,
         {"follow", 'f', 0, G_OPTION_ARG_NONE, &options->follow, "Go on with new events", NULL}},
        {OPTION_SINCE,
         {"since", 0, 0, G_OPTION_ARG_INT64, &options->since, "Only events after this one", "ID"}},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
        const GOptionEntry entries[] = {all[i].entry, G_OPTION_ENTRY_NULL};
        if ((all[i].mask & mask) != 0)
            g_option_context_add_main_entries(context, entries, NULL);
    }
}

void options_clear(Options *options)
{
    g_free(options->url);
    g_free(options->token_file);
    g_free(options->to);
    g_free(options->node);
}

static bool parse(GOptionContext *context, char ***argv, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_option_context_set_help_enabled(context, FALSE);
    if (g_option_context_parse_strv(context, argv, &cause))
        return true;
    g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE, "%s", cause->message);
    return false;
}

bool options_parse_global(Options *options, char ***argv, GError **error)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    add_global(context, options);
    g_option_context_set_ignore_unknown_options(context, TRUE);
    return parse(context, argv, error);
}

bool options_parse_command(Options *options, OptionMask mask, char ***argv, GError **error)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    add_command(context, options, mask);
    if (!parse(context, argv, error))
        return false;
    if (options->save + options->shutdown + options->poweroff > 1) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE,
                    "--save, --shutdown and --poweroff exclude each other");
        return false;
    }
    if (options->since < -1 || (options->update && options->no_start)) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE,
                    options->update ? "--update does not start anything; leave --no-start out"
                                    : "--since takes the id of an event, from 0 up");
        return false;
    }
    return true;
}

char *options_command_help(Options *options, const char *usage, const char *summary,
                           OptionMask mask)
{
    g_autoptr(GOptionContext) context = g_option_context_new(usage);
    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_set_summary(context, summary);
    add_command(context, options, mask);
    add_global(context, options);
    return g_option_context_get_help(context, TRUE, NULL);
}

char *options_global_help(Options *options)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_set_help_enabled(context, FALSE);
    add_global(context, options);
    g_autofree char *help = g_option_context_get_help(context, TRUE, NULL);
    const char *lines = strstr(help, "\n\n"); // behind GOption's own usage line
    return g_strdup(lines != NULL ? lines + 2 : help);
}
