// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/storage_service.h"

#include "agent/messages.h"
#include "agent/status.h"
#include "agent/storage.h"
#include "agent/vm.h"
#include "agent/worker.h"
#include "hvcore/filesystem.h"

#include <string.h>

// --- on this node ---

typedef bool (*ActionRun)(const HvDefinition *definition, const HvNode *node, GError **error);

typedef struct {
    GPtrArray *definitions;
    const HvNode *node; // the agent's, which outlives the worker
    ActionRun run;      // NULL: only the report
    json_t *result;
    AgentReplyFn reply;
    gpointer data;
} Action;

static bool run_login(const HvDefinition *definition, const HvNode *node, GError **error)
{
    (void)node;
    return storage_make_available(definition, true, error);
}

static bool run_logout(const HvDefinition *definition, const HvNode *node, GError **error)
{
    (void)node;
    return storage_log_out(definition, error);
}

static bool run_rehearse(const HvDefinition *definition, const HvNode *node, GError **error)
{
    const HvNodeCheck check = {.accelerator = node->accelerator, .unmounted = true};
    return storage_make_available(definition, true, error) &&
           hv_definition_check_node(definition, &check, error);
}

static void run(gpointer data)
{
    Action *action = data;
    for (guint i = 0; i < action->definitions->len; i++) {
        const HvDefinition *definition = g_ptr_array_index(action->definitions, i);
        g_autoptr(GError) error = NULL;
        if (action->run != NULL)
            (void)action->run(definition, action->node, &error);
        json_array_append_new(action->result,
                              json_pack("{s:s, s:o, s:s?}", "vm", definition->name, "storage",
                                        storage_report(definition), "error",
                                        error != NULL ? error->message : NULL));
    }
}

static void done(gpointer data)
{
    Action *action = data;
    action->reply(action->result, NULL, action->data);
    json_decref(action->result);
    g_ptr_array_unref(action->definitions);
    g_free(action);
}

static void unref(gpointer definition)
{
    hv_definition_unref(definition);
}

static GPtrArray *all_definitions(Agent *agent)
{
    GPtrArray *definitions = g_ptr_array_new_with_free_func(unref);
    json_t *resources = agent_pacemaker_resources(agent->pacemaker), *resource;
    size_t index;
    json_array_foreach (resources, index, resource) {
        const char *text = json_string_value(json_object_get(resource, "definition"));
        HvDefinition *definition = hv_definition_parse(text != NULL ? text : "", NULL);
        if (definition != NULL && definition->n_storage > 0)
            g_ptr_array_add(definitions, definition);
        else if (definition != NULL)
            hv_definition_unref(definition);
    }
    json_decref(resources);
    return definitions;
}

static GPtrArray *one_definition(Agent *agent, const char *name, GError **error)
{
    HvDefinition *definition = agent_status_definition(agent, name);
    if (definition == NULL) {
        g_propagate_error(error, agent_status_no_vm(agent, name));
        return NULL;
    }
    GPtrArray *definitions = g_ptr_array_new_with_free_func(unref);
    g_ptr_array_add(definitions, definition);
    return definitions;
}

static bool shares_target(const HvDefinition *a, const HvDefinition *b)
{
    for (size_t i = 0; i < a->n_storage; i++)
        for (size_t j = 0; j < b->n_storage; j++)
            if (a->storage[i].target != NULL &&
                g_strcmp0(a->storage[i].target, b->storage[j].target) == 0)
                return true;
    return false;
}

// The VM itself, or another one here that has its LUNs behind the same sessions.
static bool may_log_out(Agent *agent, const HvDefinition *definition, GError **error)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, agent->vms);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const AgentVm *vm = value;
        bool same = strcmp(vm->name, definition->name) == 0;
        if (vm->state == AGENT_VM_ABSENT || vm->definition == NULL ||
            (!same && !shares_target(vm->definition, definition)))
            continue;
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT,
                    "%s is %s on %s and uses %s; nothing was logged out", vm->name,
                    agent_vm_state_name(vm->state), agent->name,
                    same ? "its storage" : "the same target");
        return false;
    }
    return true;
}

static bool find_run(const char *name, ActionRun *run)
{
    static const struct {
        const char *name;
        ActionRun run;
    } actions[] = {
        {"report", NULL}, {"rehearse", run_rehearse}, {"login", run_login}, {"logout", run_logout}};
    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++)
        if (g_strcmp0(actions[i].name, name) == 0) {
            *run = actions[i].run;
            return true;
        }
    return false;
}

void agent_storage_serve(Agent *agent, const char *name, const char *vm, AgentReplyFn reply,
                         gpointer data)
{
    g_autoptr(GError) error = NULL;
    ActionRun run_action = NULL;
    if (!find_run(name, &run_action) || (vm == NULL && run_action != NULL))
        error = g_error_new(AGENT_ERROR, AGENT_ERROR_INVALID, "%s does not know this about storage",
                            agent->name);
    GPtrArray *definitions = error != NULL ? NULL
                             : vm != NULL  ? one_definition(agent, vm, &error)
                                           : all_definitions(agent);
    if (error == NULL && run_action == run_logout)
        (void)may_log_out(agent, g_ptr_array_index(definitions, 0), &error);
    if (error != NULL) {
        if (definitions != NULL)
            g_ptr_array_unref(definitions);
        reply(NULL, error, data);
        return;
    }
    Action *action = g_new0(Action, 1);
    *action = (Action){definitions, agent->node, run_action, json_array(), reply, data};
    agent_worker_run(run, done, action);
}

// --- on all nodes ---

typedef struct {
    json_t *result;     // the API's array
    guint left;         // nodes that have not answered
    GHashTable *silent; // their names
    guint timer;
    bool answered;
    AgentReplyFn reply;
    gpointer data;
} Gathering;

typedef struct {
    Gathering *gathering;
    char *node;
} Asked;

static void add_problem(json_t *result, const char *node, const char *problem)
{
    json_array_append_new(result, json_pack("{s:s, s:n, s:[], s:s}", "node", node, "vm", "storage",
                                            "error", problem));
}

static void answer(Gathering *gathering)
{
    if (gathering->answered)
        return;
    gathering->answered = true;
    g_clear_handle_id(&gathering->timer, g_source_remove);
    gathering->reply(gathering->result, NULL, gathering->data);
}

static void gathering_free(Gathering *gathering)
{
    json_decref(gathering->result);
    g_hash_table_unref(gathering->silent);
    g_free(gathering);
}

static void add_answer(Gathering *gathering, const char *node, json_t *vms)
{
    size_t index;
    json_t *vm;
    json_array_foreach (vms, index, vm) {
        json_object_set_new(vm, "node", json_string(node));
        json_array_append(gathering->result, vm);
    }
}

static void node_answered(json_t *result, const GError *error, gpointer data)
{
    Asked *asked = data;
    Gathering *gathering = asked->gathering;
    g_hash_table_remove(gathering->silent, asked->node);
    if (!gathering->answered && error != NULL)
        add_problem(gathering->result, asked->node, error->message);
    else if (!gathering->answered)
        add_answer(gathering, asked->node, result);
    if (--gathering->left == 0) {
        answer(gathering);
        gathering_free(gathering);
    }
    g_free(asked->node);
    g_free(asked);
}

static gboolean out_of_time(gpointer data)
{
    Gathering *gathering = data;
    GHashTableIter iter;
    gpointer node;
    gathering->timer = 0;
    g_hash_table_iter_init(&iter, gathering->silent);
    while (g_hash_table_iter_next(&iter, &node, NULL))
        add_problem(gathering->result, node, "it did not answer in time; does its storage hang?");
    answer(gathering);
    return G_SOURCE_REMOVE;
}

static char **nodes_to_ask(Agent *agent, const char *node, GError **error)
{
    if (node == NULL)
        return agent_cluster_members(agent->cluster);
    if (agent_cluster_has(agent->cluster, node))
        return g_strsplit(node, "\n", 1);
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_NOT_FOUND,
                "there is no node \"%s\" with a vmferryd", node);
    return NULL;
}

void agent_service_storage(Agent *agent, const char *action, const char *vm, const char *node,
                           AgentReplyFn reply, gpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = vm != NULL ? agent_status_definition(agent, vm) : NULL;
    if (vm != NULL && definition == NULL)
        error = agent_status_no_vm(agent, vm);
    g_auto(GStrv) nodes = error == NULL ? nodes_to_ask(agent, node, &error) : NULL;
    if (nodes == NULL || nodes[0] == NULL) {
        if (error == NULL)
            error = g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                                "%s is not connected to corosync", agent->name);
        reply(NULL, error, data);
        return;
    }
    Gathering *gathering = g_new0(Gathering, 1);
    *gathering = (Gathering){.result = json_array(),
                             .left = g_strv_length(nodes),
                             .silent = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                             .reply = reply,
                             .data = data};
    if (strcmp(action, "report") == 0)
        gathering->timer = g_timeout_add(AGENT_STORAGE_REPORT_MS, out_of_time, gathering);
    for (char **name = nodes; *name != NULL; name++)
        g_hash_table_add(gathering->silent, g_strdup(*name));
    for (char **name = nodes; *name != NULL; name++) {
        Asked *asked = g_new(Asked, 1);
        *asked = (Asked){gathering, g_strdup(*name)};
        agent_messages_call(agent, *name, "storage",
                            json_pack("{s:s, s:s*}", "action", action, "vm", vm), node_answered,
                            asked);
    }
}
