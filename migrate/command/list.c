// SPDX-License-Identifier: GPL-2.0-or-later
// list: all VMs, a line each.
#include "migrate/command/list.h"

#include "migrate/command/commands.h"
#include "migrate/command/format.h"
#include "migrate/command/output.h"
#include "migrate/command/table.h"

static void add_row(Table *table, json_t *vm)
{
    g_autofree char *memory = format_mib(json_object_get(vm, "memory_mib"));
    g_autofree char *vcpus =
        g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(vm, "vcpus")));
    const char *peer = json_string_value(json_object_get(vm, "moving_to"));
    g_autofree char *node =
        g_strconcat(output_text(vm, "node"), peer != NULL ? " -> " : NULL, peer, NULL);
    table_add(table, output_text(vm, "name"), output_text(vm, "state"), node, memory, vcpus);
}

void list_print(json_t *vms)
{
    static const TableColumn columns[] = {
        {.heading = "NAME", .may_shrink = true},
        {.heading = "STATE"},
        {.heading = "NODE"},
        {.heading = "MEMORY", .right = true},
        {.heading = "VCPUS", .right = true},
    };
    g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
    size_t index;
    json_t *vm;
    json_array_foreach(vms, index, vm) add_row(table, vm);
    table_print(table);
}

bool command_list(Client *client, const Options *options, char **args, GError **error)
{
    (void)args;
    json_t *vms = client_get(client, "/v1/vms", error);
    if (vms == NULL)
        return false;
    if (options->json)
        output_json(vms);
    else
        list_print(vms);
    json_decref(vms);
    return true;
}
