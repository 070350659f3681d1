// SPDX-License-Identifier: GPL-2.0-or-later
// show VM: all about one VM.
#include "migrate/command/block.h"
#include "migrate/command/commands.h"
#include "migrate/command/format.h"
#include "migrate/command/job_end.h"
#include "migrate/command/output.h"

static void show_place(json_t *vm)
{
    const char *peer = json_string_value(json_object_get(vm, "moving_to"));
    json_int_t pid = json_integer_value(json_object_get(vm, "pid"));
    block_line("name", output_text(vm, "name"));
    block_line("uuid", output_text(vm, "uuid"));
    block_line("state", output_text(vm, "state"));
    if (peer != NULL)
        block_format("node", "%s, moving to %s", output_text(vm, "node"), peer);
    else
        block_line("node", output_text(vm, "node"));
    block_line("target role", output_text(vm, "target_role"));
    if (pid > 0)
        block_format("pid", "%" JSON_INTEGER_FORMAT, pid);
}

static void show_means(json_t *vm)
{
    g_autofree char *memory = format_mib(json_object_get(vm, "memory_mib"));
    block_line("memory", memory);
    block_format("vcpus", "%" JSON_INTEGER_FORMAT,
                 json_integer_value(json_object_get(vm, "vcpus")));
    block_line("state area", output_text(json_object_get(vm, "definition"), "state_area"));
    block_format("run record", "%s, epoch %" JSON_INTEGER_FORMAT, output_text(vm, "record_state"),
                 json_integer_value(json_object_get(vm, "epoch")));
}

static char *time_of_ms(json_int_t ms)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(ms / 1000);
    return time != NULL ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S") : g_strdup("-");
}

static void show_past(json_t *vm)
{
    const char *problem = json_string_value(json_object_get(vm, "error"));
    json_t *move = json_object_get(vm, "last_move");
    block_line("pending changes", output_text(vm, "pending"));
    if (problem != NULL) {
        g_autofree char *when = time_of_ms(json_integer_value(json_object_get(vm, "error_at_ms")));
        block_format("last error", "%s (%s)", problem, when);
    } else {
        block_line("last error", "-");
    }
    if (json_is_object(move)) {
        g_autofree char *text = job_end_move(move);
        block_format("last move", "%s (%s)", text, output_text(move, "mode"));
    } else {
        block_line("last move", "-");
    }
}

bool command_show(Client *client, const Options *options, char **args, GError **error)
{
    g_autofree char *path = client_path("vms", args[0], "");
    json_t *vm = client_get(client, path, error);
    if (vm == NULL)
        return false;
    if (options->json) {
        output_json(vm);
    } else {
        show_place(vm);
        show_means(vm);
        show_past(vm);
    }
    json_decref(vm);
    return true;
}
