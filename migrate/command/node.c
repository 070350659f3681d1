// SPDX-License-Identifier: GPL-2.0-or-later
// node [NAME]: the nodes, a line each, or all about one.
#include "migrate/command/node.h"

#include "migrate/command/block.h"
#include "migrate/command/commands.h"
#include "migrate/command/format.h"
#include "migrate/command/output.h"
#include "migrate/command/table.h"

static const char *state_of(json_t *node)
{
    if (!json_is_true(json_object_get(node, "online")))
        return "offline";
    if (!json_is_true(json_object_get(node, "agent")))
        return "no agent";
    return json_is_true(json_object_get(node, "standby")) ? "standby" : "online";
}

// "1.2 GiB of 8 GiB"
static char *memory_of(json_t *node)
{
    if (!json_is_number(json_object_get(node, "memory_mib")))
        return g_strdup("-");
    g_autofree char *available = format_mib(json_object_get(node, "memory_available_mib"));
    g_autofree char *all = format_mib(json_object_get(node, "memory_mib"));
    return g_strdup_printf("%s of %s", available, all);
}

static char *names_of(json_t *vms)
{
    GString *names = g_string_new(NULL);
    size_t index;
    json_t *vm;
    json_array_foreach(vms, index, vm) g_string_append_printf(
        names, "%s%s", index > 0 ? ", " : "", json_is_string(vm) ? json_string_value(vm) : "?");
    if (names->len == 0)
        g_string_append_c(names, '-');
    return g_string_free(names, FALSE);
}

static void add_row(Table *table, json_t *node)
{
    g_autofree char *memory = memory_of(node);
    g_autofree char *vms = g_strdup_printf("%zu", json_array_size(json_object_get(node, "vms")));
    g_autofree char *name =
        g_strconcat(output_text(node, "name"),
                    json_is_true(json_object_get(node, "dc")) ? " (dc)" : NULL, NULL);
    table_add(table, name, state_of(node), output_text(node, "accelerator"), memory, vms);
}

void node_print_table(json_t *nodes)
{
    static const TableColumn columns[] = {
        {.heading = "NODE", .may_shrink = true},
        {.heading = "STATE"},
        {.heading = "ACCELERATOR"},
        {.heading = "MEMORY FREE", .right = true},
        {.heading = "VMS", .right = true},
    };
    g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
    size_t index;
    json_t *node;
    json_array_foreach(nodes, index, node) add_row(table, node);
    table_print(table);
}

static void print_details(json_t *node)
{
    const char *reason = json_string_value(json_object_get(node, "accelerator_reason"));
    bool has_dc = json_is_true(json_object_get(node, "dc"));
    g_autofree char *memory = memory_of(node);
    g_autofree char *vms = names_of(json_object_get(node, "vms"));
    block_line("name", output_text(node, "name"));
    block_format("state", "%s%s", state_of(node), has_dc ? ", designated controller" : "");
    block_line("address", output_text(node, "address"));
    if (reason != NULL)
        block_format("accelerator", "%s (%s)", output_text(node, "accelerator"), reason);
    else
        block_line("accelerator", output_text(node, "accelerator"));
    block_line("QEMU", output_text(node, "qemu_version"));
    block_line("memory free", memory);
    if (json_is_integer(json_object_get(node, "cpus")))
        block_format("cpus", "%" JSON_INTEGER_FORMAT,
                     json_integer_value(json_object_get(node, "cpus")));
    if (json_is_boolean(json_object_get(node, "userfaultfd")))
        block_line("userfaultfd",
                   json_is_true(json_object_get(node, "userfaultfd")) ? "yes" : "no");
    block_line("VMs", vms);
}

bool command_node(Client *client, const Options *options, char **args, GError **error)
{
    g_autofree char *path =
        args[0] != NULL ? client_path("nodes", args[0], "") : g_strdup("/v1/nodes");
    json_t *answer = client_get(client, path, error);
    if (answer == NULL)
        return false;
    if (options->json)
        output_json(answer);
    else if (args[0] != NULL)
        print_details(answer);
    else
        node_print_table(answer);
    json_decref(answer);
    return true;
}
