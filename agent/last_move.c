// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/last_move.h"

#include "agent/status.h"

static char *path_of(const AgentVm *vm)
{
    return g_build_filename(vm->agent->config->run_dir, vm->name, "last_move.json", NULL);
}

void agent_last_move_see(Agent *agent, json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    const char *name = json_string_value(json_object_get(event, "vm"));
    json_t *details = json_object_get(event, "details");
    AgentVm *vm = name != NULL ? agent_vm_find(agent, name) : NULL;
    if (g_strcmp0(type, "move.done") != 0 || vm == NULL || details == NULL)
        return;
    json_incref(details);
    json_decref(vm->last_move);
    vm->last_move = details;
    if (vm->hv != NULL) {
        g_autofree char *path = path_of(vm);
        if (json_dump_file(vm->last_move, path, JSON_COMPACT) != 0)
            g_warning("%s could not be written", path);
    }
    agent_status_changed(agent);
}

void agent_last_move_load(AgentVm *vm)
{
    g_autofree char *path = path_of(vm);
    json_decref(vm->last_move);
    vm->last_move = json_load_file(path, 0, NULL);
}
