// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/calls.h"

#include "agent/doctor.h"
#include "agent/migrate.h"
#include "agent/storage_service.h"

#include <string.h>

static void stop_mode(Agent *agent, const char *name, const char *mode, AgentReplyFn reply,
                      gpointer data)
{
    AgentVm *vm = agent_vm_find(agent, name);
    if (vm != NULL) {
        g_free(vm->stop_mode);
        vm->stop_mode = g_strdup(mode);
    }
    json_t *result = json_object();
    reply(result, NULL, data);
    json_decref(result);
}

void agent_calls_serve(Agent *agent, const char *op, json_t *args, AgentReplyFn reply,
                       gpointer data)
{
    const char *name = json_string_value(json_object_get(args, "vm"));
    if (op != NULL && name != NULL && strcmp(op, "migrate") == 0) {
        agent_migrate_request(agent, name, json_string_value(json_object_get(args, "to")), reply,
                              data);
    } else if (op != NULL && name != NULL && strcmp(op, "stop-mode") == 0) {
        stop_mode(agent, name, json_string_value(json_object_get(args, "mode")), reply, data);
    } else if (op != NULL && strcmp(op, "storage") == 0) {
        agent_storage_serve(agent, json_string_value(json_object_get(args, "action")), name, reply,
                            data);
    } else if (op != NULL && strcmp(op, "clock") == 0) {
        agent_doctor_clock(agent, reply, data);
    } else if (op != NULL && strcmp(op, "inspect") == 0) {
        agent_doctor_inspect(agent, reply, data);
    } else {
        g_autoptr(GError) error =
            g_error_new(AGENT_ERROR, AGENT_ERROR_INVALID,
                        "%s does not know the call \"%s\"; does it run the same release?",
                        agent->name, op != NULL ? op : "");
        reply(NULL, error, data);
    }
}
