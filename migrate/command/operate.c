// SPDX-License-Identifier: GPL-2.0-or-later
// start, stop, save, migrate: the subcommands that begin a job.
#include "migrate/command/commands.h"
#include "migrate/command/job.h"

#include <string.h>

// Takes BODY (may be NULL).
static bool operate(Client *client, const Options *options, const char *vm, const char *verb,
                    json_t *body, GError **error)
{
    g_autofree char *suffix = g_strconcat("/", verb, NULL);
    g_autofree char *path = client_path("vms", vm, suffix);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_t *reply = client_send(client, "POST", path, text, text != NULL ? strlen(text) : 0, error);
    bool done = reply != NULL && job_follow(client, options, reply, error);
    json_decref(reply);
    json_decref(body);
    free(text);
    return done;
}

bool command_start(Client *client, const Options *options, char **args, GError **error)
{
    return operate(client, options, args[0], "start", NULL, error);
}

bool command_stop(Client *client, const Options *options, char **args, GError **error)
{
    const char *mode = options->save       ? "save"
                       : options->shutdown ? "shutdown"
                       : options->poweroff ? "poweroff"
                                           : NULL;
    json_t *body = mode != NULL ? json_pack("{s:s}", "mode", mode) : NULL;
    return operate(client, options, args[0], "stop", body, error);
}

bool command_save(Client *client, const Options *options, char **args, GError **error)
{
    return operate(client, options, args[0], "save", NULL, error);
}

bool command_migrate(Client *client, const Options *options, char **args, GError **error)
{
    json_t *body = options->to != NULL ? json_pack("{s:s}", "to", options->to) : NULL;
    return operate(client, options, args[0], "migrate", body, error);
}
