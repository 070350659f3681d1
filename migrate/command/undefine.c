// SPDX-License-Identifier: GPL-2.0-or-later
// undefine VM, discard VM: what goes away for good.
#include "migrate/command/commands.h"
#include "migrate/command/output.h"

#include <stdio.h>

static bool ask(Client *client, const Options *options, const char *method, const char *path,
                const char *done, GError **error)
{
    json_t *reply = client_send(client, method, path, NULL, 0, error);
    if (reply == NULL)
        return false;
    if (options->json)
        output_json(reply);
    else
        printf("%s\n", done);
    json_decref(reply);
    return true;
}

bool command_undefine(Client *client, const Options *options, char **args, GError **error)
{
    g_autofree char *path = client_path("vms", args[0], "");
    g_autofree char *done =
        g_strdup_printf("%s: no longer defined; its disks are untouched", args[0]);
    return ask(client, options, "DELETE", path, done, error);
}

bool command_discard(Client *client, const Options *options, char **args, GError **error)
{
    g_autofree char *path = client_path("vms", args[0], "/discard");
    g_autofree char *done =
        g_strdup_printf("%s: saved memory thrown away; its next start is a cold one", args[0]);
    return ask(client, options, "POST", path, done, error);
}
