// SPDX-License-Identifier: GPL-2.0-or-later
// status: the cluster at a glance.
#include "migrate/command/commands.h"
#include "migrate/command/format.h"
#include "migrate/command/list.h"
#include "migrate/command/node.h"
#include "migrate/command/output.h"

#include <stdio.h>

static void print_cluster(json_t *cluster)
{
    const char *name = json_string_value(json_object_get(cluster, "cluster_name"));
    g_autofree char *nodes =
        format_count(json_integer_value(json_object_get(cluster, "nodes")), "node", "nodes");
    g_autofree char *vms =
        format_count(json_integer_value(json_object_get(cluster, "vms")), "VM", "VMs");
    g_autofree char *line = g_strdup_printf(
        "cluster %s: %s, %s, %s, designated controller %s", name != NULL ? name : "(no name)",
        json_is_true(json_object_get(cluster, "quorate")) ? "quorate" : "NO QUORUM", nodes, vms,
        output_text(cluster, "dc"));
    g_autofree char *clean = output_clean(line);
    printf("%s\n", clean);
    if (json_is_false(json_object_get(cluster, "pacemaker_connected")))
        printf("%s: Pacemaker does not answer\n", output_text(cluster, "local_node"));
    if (json_is_false(json_object_get(cluster, "stonith_enabled")))
        printf("fencing is off: VMs of a dead node are not started elsewhere safely\n");
}

bool command_status(Client *client, const Options *options, char **args, GError **error)
{
    (void)args;
    json_t *cluster = client_get(client, "/v1/cluster", error);
    json_t *nodes = cluster != NULL ? client_get(client, "/v1/nodes", error) : NULL;
    json_t *vms = nodes != NULL ? client_get(client, "/v1/vms", error) : NULL;
    bool known = vms != NULL;
    if (known && options->json) {
        json_t *all = json_pack("{s:O, s:O, s:O}", "cluster", cluster, "nodes", nodes, "vms", vms);
        output_json(all);
        json_decref(all);
    } else if (known) {
        print_cluster(cluster);
        putchar('\n');
        node_print_table(nodes);
        putchar('\n');
        list_print(vms);
    }
    json_decref(cluster);
    json_decref(nodes);
    json_decref(vms);
    return known;
}
