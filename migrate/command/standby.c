// SPDX-License-Identifier: GPL-2.0-or-later
// standby NODE, unstandby NODE: empties a node for maintenance, and takes it back.
#include "migrate/command/commands.h"
#include "migrate/command/output.h"

#include <stdio.h>
#include <string.h>

static bool set(Client *client, const Options *options, const char *node, bool standby,
                GError **error)
{
    const char *body = standby ? "{\"standby\":true}" : "{\"standby\":false}";
    g_autofree char *path = client_path("nodes", node, "/standby");
    json_t *reply = client_send(client, "PUT", path, body, strlen(body), error);
    if (reply == NULL)
        return false;
    if (options->json)
        output_json(reply);
    else
        printf("%s: %s\n", node,
               standby ? "standby; its VMs move away, follow them with `vmferry events -f`"
                       : "takes VMs again");
    json_decref(reply);
    return true;
}

bool command_standby(Client *client, const Options *options, char **args, GError **error)
{
    return set(client, options, args[0], true, error);
}

bool command_unstandby(Client *client, const Options *options, char **args, GError **error)
{
    return set(client, options, args[0], false, error);
}
