// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/migrate.h"

#include "agent/load.h"
#include "agent/move_out.h"
#include "agent/relocate.h"
#include "agent/status.h"

#include <string.h>

enum { SWEEPS_UNUSED = 3 }; // before somebody else's constraint is removed

typedef struct {
    Agent *agent;
    char *vm;
    AgentJob *job;
    GPtrArray *candidates;
    guint next;
    GString *refusals;
    bool preferred;
    json_t *result;
    GError *error;
    guint settle_timer;
} Migrate;

static void migrate_free(Migrate *migrate)
{
    g_clear_handle_id(&migrate->settle_timer, g_source_remove);
    g_ptr_array_unref(migrate->candidates);
    g_string_free(migrate->refusals, TRUE);
    g_clear_error(&migrate->error);
    json_decref(migrate->result);
    g_free(migrate->vm);
    g_free(migrate);
}

static Migrate *find(Agent *agent, const char *name)
{
    return g_hash_table_lookup(agent->migrates, name);
}

// --- the end: no constraint stays behind ---

static void unpreferred(const GError *error, gpointer data)
{
    Migrate *migrate = data;
    if (error != NULL) // the sweep removes it later
        g_warning("VM %s: %s", migrate->vm, error->message);
    agent_job_end(migrate->job, migrate->error, json_incref(migrate->result));
    g_hash_table_remove(migrate->agent->migrates, migrate->vm);
    migrate_free(migrate);
}

static void end(Migrate *migrate)
{
    g_clear_handle_id(&migrate->settle_timer, g_source_remove);
    if (migrate->preferred)
        agent_pacemaker_unprefer(migrate->agent->pacemaker, migrate->vm, unpreferred, migrate);
    else
        unpreferred(NULL, migrate);
}

static gboolean not_settled(gpointer data)
{
    Migrate *migrate = data;
    migrate->settle_timer = 0;
    end(migrate);
    return G_SOURCE_REMOVE;
}

void agent_migrate_settled(AgentVm *vm)
{
    Migrate *migrate = find(vm->agent, vm->name);
    if (migrate != NULL && migrate->settle_timer != 0)
        end(migrate);
}

// --- one candidate after the other ---

static void try_next(Migrate *migrate);

static void load_over(AgentVm *vm, const GError *error, gpointer data)
{
    (void)vm;
    (void)error;
    try_next(data);
}

static void refused(Migrate *migrate, const GError *error)
{
    g_string_append_printf(migrate->refusals, "%s%s", migrate->refusals->len > 0 ? "; " : "",
                           error->message);
}

static void departed(AgentVm *vm, const GError *error, gpointer data)
{
    Migrate *migrate = data;
    if (error == NULL) {
        migrate->result = json_incref(vm->last_move);
        migrate->settle_timer = g_timeout_add(AGENT_MIGRATE_SETTLE_MS, not_settled, migrate);
        return;
    }
    if (migrate->preferred) {
        migrate->error = g_error_copy(error);
        end(migrate);
        return;
    }
    refused(migrate, error);
    try_next(migrate);
}

static void relocated(json_t *result, bool touched, const GError *error, gpointer data)
{
    Migrate *migrate = data;
    migrate->preferred = touched;
    if (error != NULL && !touched) {
        refused(migrate, error);
        try_next(migrate);
        return;
    }
    migrate->error = error != NULL ? g_error_copy(error) : NULL;
    migrate->result = json_incref(result);
    end(migrate);
}

// NULL: none is left.
static const char *next_candidate(Migrate *migrate)
{
    return migrate->next < migrate->candidates->len
               ? g_ptr_array_index(migrate->candidates, migrate->next++)
               : NULL;
}

static void try_next(Migrate *migrate)
{
    AgentVm *vm = agent_vm_find(migrate->agent, migrate->vm);
    const char *node;
    if (vm != NULL && agent_load_pending(vm)) {
        agent_load_hurry(vm, NULL, migrate->job);
        agent_vm_wait(&vm->loads, load_over, migrate);
        return;
    }
    while (vm != NULL && (node = next_candidate(migrate)) != NULL) {
        g_autoptr(GError) error = NULL;
        if (hv_definition_is_exclusive(vm->definition)) {
            agent_relocate(vm, node, migrate->job, relocated, migrate);
            return;
        }
        if (agent_move_out_rehearse(vm, node, migrate->job, &error)) {
            agent_vm_wait(&vm->departs, departed, migrate);
            return;
        }
        refused(migrate, error);
    }
    migrate->error = g_error_new(AGENT_ERROR, AGENT_ERROR_REFUSED,
                                 "%s stays on %s: %s", migrate->vm, migrate->agent->name,
                                 migrate->refusals->len > 0 ? migrate->refusals->str
                                                            : "no other node can take it");
    end(migrate);
}

typedef struct {
    Agent *agent;
    char *vm;
} Preference;

static void preferred(const GError *error, gpointer data)
{
    g_autofree Preference *preference = data;
    g_autofree char *name = preference->vm;
    AgentVm *vm = error != NULL ? agent_vm_find(preference->agent, name) : NULL;
    if (vm != NULL && vm->out != NULL && agent_move_out_ready(vm->out))
        agent_move_out_cancel(vm->out, error->message);
}

void agent_migrate_ready(AgentVm *vm)
{
    Migrate *migrate = find(vm->agent, vm->name);
    if (migrate == NULL)
        return;
    migrate->preferred = true;
    Preference *preference = g_new(Preference, 1);
    *preference = (Preference){.agent = vm->agent, .vm = g_strdup(vm->name)};
    agent_pacemaker_prefer(vm->agent->pacemaker, vm->name, agent_move_out_peer(vm->out),
                           vm->agent->name, AGENT_MIGRATE_LIFETIME_S, preferred, preference);
}

// --- the request ---

static bool usable(json_t *node)
{
    return json_is_true(json_object_get(node, "online")) &&
           !json_is_true(json_object_get(node, "standby")) &&
           json_is_true(json_object_get(node, "agent"));
}

static bool check_target(Agent *agent, json_t *nodes, const char *to, GError **error)
{
    size_t index;
    json_t *node;
    json_array_foreach (nodes, index, node) {
        if (strcmp(json_string_value(json_object_get(node, "name")), to) != 0)
            continue;
        if (strcmp(to, agent->name) == 0)
            g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT, "it runs on %s already", to);
        else if (!usable(node))
            g_set_error(error, AGENT_ERROR, AGENT_ERROR_REFUSED,
                        "%s cannot take a VM now: it is offline, in standby or without vmferryd "
                        "(`vmferry status` tells)",
                        to);
        else
            return true;
        return false;
    }
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_NOT_FOUND, "there is no node \"%s\"", to);
    return false;
}

static gint by_free_memory(gconstpointer a, gconstpointer b)
{
    json_int_t left =
        json_integer_value(json_object_get(*(json_t *const *)a, "memory_available_mib"));
    json_int_t right =
        json_integer_value(json_object_get(*(json_t *const *)b, "memory_available_mib"));
    return left < right ? 1 : left > right ? -1 : 0;
}

static GPtrArray *candidates(Agent *agent, const char *to, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();
    json_t *nodes = agent_status_nodes(agent);
    size_t index;
    json_t *node;
    if (to != NULL && check_target(agent, nodes, to, error))
        g_ptr_array_add(names, g_strdup(to));
    json_array_foreach (nodes, index, node)
        if (to == NULL && usable(node) &&
            strcmp(json_string_value(json_object_get(node, "name")), agent->name) != 0)
            g_ptr_array_add(sorted, node);
    g_ptr_array_sort(sorted, by_free_memory);
    for (guint i = 0; i < sorted->len; i++)
        g_ptr_array_add(
            names,
            g_strdup(json_string_value(json_object_get(g_ptr_array_index(sorted, i), "name"))));
    json_decref(nodes);
    if (to == NULL && names->len == 0)
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_REFUSED,
                    "no other node is online with a vmferryd; bring one online or out of standby");
    return names->len > 0 ? g_steal_pointer(&names) : NULL;
}

void agent_migrate_request(Agent *agent, const char *name, const char *to, AgentReplyFn reply,
                           gpointer data)
{
    g_autoptr(GError) error = NULL;
    AgentVm *vm = agent_vm_find(agent, name);
    if (vm == NULL || vm->state != AGENT_VM_RUNNING || find(agent, name) != NULL) {
        error = g_error_new(AGENT_ERROR, AGENT_ERROR_CONFLICT,
                            "%s is not running undisturbed on %s (it is %s); try again later", name,
                            agent->name,
                            vm == NULL ? "unknown here" : agent_vm_state_name(vm->state));
        reply(NULL, error, data);
        return;
    }
    if (vm->stay != NULL) {
        error = g_error_new(AGENT_ERROR, AGENT_ERROR_CONFLICT,
                            "%s: Pacemaker is just made to forget that its last move failed; try "
                            "again in some seconds",
                            name);
        reply(NULL, error, data);
        return;
    }
    GPtrArray *nodes = candidates(agent, to, &error);
    if (nodes == NULL) {
        g_prefix_error(&error, "%s: ", name);
        reply(NULL, error, data);
        return;
    }
    Migrate *migrate = g_new0(Migrate, 1);
    migrate->agent = agent;
    migrate->vm = g_strdup(name);
    migrate->candidates = nodes;
    migrate->refusals = g_string_new(NULL);
    migrate->job = agent_job_start(agent->jobs, "migrate", name);
    g_hash_table_insert(agent->migrates, migrate->vm, migrate);
    json_t *result = json_pack("{s:s}", "job", agent_job_id(migrate->job));
    reply(result, NULL, data);
    json_decref(result);
    try_next(migrate);
}

// --- constraints whose owner forgot them ---

static bool is_ours_to_sweep(Agent *agent, json_t *preference)
{
    const char *owner = json_string_value(json_object_get(preference, "owner"));
    if (owner == NULL || strcmp(owner, agent->name) == 0)
        return true;
    if (agent_cluster_has(agent->cluster, owner))
        return false;
    g_auto(GStrv) members = agent_cluster_members(agent->cluster);
    return members != NULL && members[0] != NULL && strcmp(members[0], agent->name) == 0;
}

static void swept(const GError *error, gpointer data)
{
    g_autofree char *name = data;
    if (error != NULL)
        g_warning("VM %s: its move's constraint could not be removed: %s", name, error->message);
}

static void sweep_one(Agent *agent, const char *name)
{
    AgentVm *vm = agent_vm_find(agent, name);
    bool busy = find(agent, name) != NULL ||
                (vm != NULL && (vm->out != NULL || vm->in != NULL));
    guint seen = GPOINTER_TO_UINT(g_hash_table_lookup(agent->preferences, name)) + 1;
    if (busy)
        seen = 0;
    g_hash_table_replace(agent->preferences, g_strdup(name), GUINT_TO_POINTER(seen));
    if (seen < SWEEPS_UNUSED)
        return;
    g_hash_table_remove(agent->preferences, name);
    agent_events_add(agent->events, "info", "move.constraint-removed", name, NULL,
                     "a constraint that a lost move of %s had left was removed", name);
    agent_pacemaker_unprefer(agent->pacemaker, name, swept, g_strdup(name));
}

void agent_migrate_sweep(Agent *agent)
{
    json_t *preferences = agent_pacemaker_preferences(agent->pacemaker);
    size_t index;
    json_t *preference;
    json_array_foreach (preferences, index, preference)
        if (is_ours_to_sweep(agent, preference))
            sweep_one(agent, json_string_value(json_object_get(preference, "name")));
    json_decref(preferences);
}
