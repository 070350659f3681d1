// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/status.h"

#include "agent/messages.h"
#include "agent/move_out.h"
#include "agent/vm.h"
#include "agent/worker.h"
#include "migrate/area.h"

#include <string.h>

enum {
    COALESCE_MS = 20,
    FRESH_US = 15 * G_USEC_PER_SEC, // a vmferryd that works says something every 5 s
};

#define HEARD "heard_us" // in a peer's status: when it came, by our own monotonic clock

// --- what this node says ---

static json_t *or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

static char *pending_of(const AgentVm *vm)
{
    g_autoptr(HvDefinition) next = agent_status_definition(vm->agent, vm->name);
    return vm->hv != NULL && next != NULL ? hv_definition_pending(vm->definition, next) : NULL;
}

static json_t *vm_status(const AgentVm *vm)
{
    g_autofree char *digest = hv_definition_digest(vm->definition);
    g_autofree char *pending = pending_of(vm);
    const char *peer = vm->out != NULL ? agent_move_out_peer(vm->out) : NULL;
    const char *state = agent_vm_state_name(vm->state);
    if (vm->out != NULL && peer == NULL)
        state = "saving";
    else if (vm->state == AGENT_VM_INCOMING && agent_vm_is_here(vm))
        state = agent_vm_state_name(AGENT_VM_RUNNING);
    return json_pack("{s:s, s:s, s:b, s:I, s:I, s:s, s:o, s:o, s:o, s:I, s:s, s:O}", "name", vm->name,
                     "state", state, "loading", vm->load != NULL, "pid",
                     (json_int_t)(vm->hv != NULL ? hv_vm_pid(vm->hv) : 0), "epoch",
                     (json_int_t)vm->record.epoch, "record_state",
                     vm->record.sequence != 0 ? ferry_state_name(vm->record.state) : "unknown",
                     "moving_to", or_null(peer), "pending", or_null(pending), "error",
                     or_null(vm->last_error), "error_at_ms", (json_int_t)vm->last_error_ms,
                     "definition_digest", digest, "last_move",
                     vm->last_move != NULL ? vm->last_move : json_null());
}

static json_t *vms_status(Agent *agent)
{
    json_t *vms = json_array();
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, agent->vms);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        AgentVm *vm = value;
        if (vm->definition != NULL)
            json_array_append_new(vms, vm_status(vm));
    }
    return vms;
}

static const char *address_for_others(const AgentConfig *config)
{
    for (char **listen = config->listen; *listen != NULL; listen++)
        if (!g_str_has_prefix(*listen, "127.") && !g_str_has_prefix(*listen, "[::1]"))
            return *listen;
    return NULL;
}

static json_t *node_status(Agent *agent)
{
    const HvNode *node = agent->node;
    uint64_t available = 0;
    hv_node_memory_available(&available, NULL);
    return json_pack("{s:s, s:o, s:s, s:s, s:s, s:I, s:I, s:I, s:b}", "name", agent->name,
                     "address", or_null(address_for_others(agent->config)), "accelerator",
                     node->accelerator, "accelerator_reason", node->accelerator_reason,
                     "qemu_version", node->qemu_version, "memory_mib",
                     (json_int_t)node->memory_mib, "memory_available_mib", (json_int_t)available,
                     "cpus", (json_int_t)node->cpus, "userfaultfd", node->userfaultfd);
}

static gboolean tell(gpointer data)
{
    Agent *agent = data;
    agent->status_source = 0;
    if (!agent_cluster_connected(agent->cluster))
        return G_SOURCE_REMOVE;
    agent_messages_send_status(
        agent, json_pack("{s:o, s:o}", "node", node_status(agent), "vms", vms_status(agent)));
    return G_SOURCE_REMOVE;
}

void agent_status_changed(Agent *agent)
{
    if (agent->status_source == 0)
        agent->status_source = g_timeout_add(COALESCE_MS, tell, agent);
}

void agent_status_tell(Agent *agent)
{
    g_clear_handle_id(&agent->status_source, g_source_remove);
    agent_outbox_end_quiet(agent->outbox);
    (void)tell(agent);
}

static json_t *find_named(json_t *array, const char *name)
{
    size_t index;
    json_t *item;
    json_array_foreach (array, index, item) {
        const char *found = json_string_value(json_object_get(item, "name"));
        if (found != NULL && strcmp(found, name) == 0)
            return item;
    }
    return NULL;
}

static bool is_stopped(json_t *vm)
{
    return g_strcmp0(json_string_value(json_object_get(vm, "state")), "stopped") == 0;
}

// The node on which a VM has just ended knows its record; a look at the storage comes later.
static void note_records(Agent *agent, json_t *before, json_t *now)
{
    size_t index;
    json_t *vm;
    json_array_foreach (now, index, vm) {
        const char *name = json_string_value(json_object_get(vm, "name"));
        const char *record = json_string_value(json_object_get(vm, "record_state"));
        json_t *old = name != NULL ? find_named(before, name) : NULL;
        if (old == NULL || is_stopped(old) || !is_stopped(vm) || record == NULL)
            continue;
        g_autofree char *owner = agent_status_owner_of(agent, name);
        if (owner == NULL) // it has not moved away
            g_hash_table_replace(agent->saved, g_strdup(name), g_strdup(record));
    }
}

void agent_status_received(Agent *agent, const char *from, json_t *status)
{
    json_t *before = json_incref(g_hash_table_lookup(agent->peers, from));
    json_object_set_new(status, HEARD, json_integer(g_get_monotonic_time()));
    g_hash_table_replace(agent->peers, g_strdup(from), json_incref(status));
    note_records(agent, json_object_get(before, "vms"), json_object_get(status, "vms"));
    json_decref(before);
}

void agent_status_forget(Agent *agent, const char *node)
{
    g_hash_table_remove(agent->peers, node);
}

// --- the view of all ---

static bool has_qemu(json_t *vm)
{
    const char *state = json_string_value(json_object_get(vm, "state"));
    return state != NULL && strcmp(state, "stopped") != 0 && strcmp(state, "incoming") != 0;
}

static char *node_with(Agent *agent, const char *name, gint64 oldest_us)
{
    GHashTableIter iter;
    gpointer node, status;
    g_hash_table_iter_init(&iter, agent->peers);
    while (g_hash_table_iter_next(&iter, &node, &status)) {
        if (strcmp(node, agent->name) == 0 ||
            json_integer_value(json_object_get(status, HEARD)) < oldest_us)
            continue;
        json_t *vm = find_named(json_object_get(status, "vms"), name);
        if (vm != NULL && has_qemu(vm))
            return g_strdup(node);
    }
    return NULL;
}

char *agent_status_node_of(Agent *agent, const char *vm)
{
    return node_with(agent, vm, g_get_monotonic_time() - FRESH_US);
}

char *agent_status_owner_of(Agent *agent, const char *name)
{
    AgentVm *vm = agent_vm_find(agent, name);
    if (vm != NULL && agent_vm_is_here(vm))
        return g_strdup(agent->name);
    return node_with(agent, name, 0);
}

char *agent_status_silent_node(Agent *agent)
{
    char *silent = NULL;
    size_t index;
    json_t *nodes = agent_pacemaker_nodes(agent->pacemaker), *node;
    json_array_foreach (nodes, index, node) {
        const char *name = json_string_value(json_object_get(node, "name"));
        bool up = json_is_true(json_object_get(node, "online")) ||
                  json_is_true(json_object_get(node, "pending_fence"));
        if (silent == NULL && up && !g_hash_table_contains(agent->peers, name))
            silent = g_strdup(name);
    }
    json_decref(nodes);
    return silent;
}

HvDefinition *agent_status_definition(Agent *agent, const char *name)
{
    const char *text = agent_pacemaker_definition(agent->pacemaker, name);
    return text != NULL ? hv_definition_parse(text, NULL) : NULL;
}

bool agent_status_known(Agent *agent, GError **error)
{
    if (agent_pacemaker_joined(agent->pacemaker, agent->name))
        return true;
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_NOT_JOINED,
                "%s has not joined the cluster yet and knows none of its VMs; try again in some "
                "seconds, or ask another node (where it stays so, `systemctl status pacemaker` there)",
                agent->name);
    return false;
}

bool agent_status_changeable(Agent *agent, GError **error)
{
    if (!agent_pacemaker_connected(agent->pacemaker))
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_NOT_JOINED,
                    "%s: Pacemaker does not answer; is it running?", agent->name);
    else if (!agent_cluster_quorate(agent->cluster))
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_NOT_JOINED,
                    "%s has no quorum; bring more nodes online", agent->name);
    else
        return agent_status_known(agent, error);
    return false;
}

GError *agent_status_no_vm(Agent *agent, const char *name)
{
    GError *error = NULL;
    if (agent_status_known(agent, &error))
        error = g_error_new(AGENT_ERROR, AGENT_ERROR_NOT_FOUND,
                            "there is no VM \"%s\"; `vmferry list` shows all", name);
    return error;
}

// --- saved memory of VMs that nobody runs ---

typedef struct {
    Agent *agent;
    char *name;
    char *path;
    const char *state;
} Peek;

static void peek_run(gpointer data)
{
    Peek *peek = data;
    FerryRecord record;
    g_autoptr(GError) error = NULL;
    g_autoptr(FerryArea) area = ferry_area_open(peek->path, NULL);
    if (area != NULL && ferry_area_read_record(area, &record, &error))
        peek->state = ferry_state_name(record.state);
    else if (g_error_matches(error, FERRY_ERROR, FERRY_ERROR_CORRUPT))
        peek->state = "damaged";
}

static void peek_done(gpointer data)
{
    Peek *peek = data;
    g_hash_table_remove(peek->agent->peeking, peek->name);
    g_hash_table_replace(peek->agent->saved, g_strdup(peek->name),
                         g_strdup(peek->state != NULL ? peek->state : "unknown"));
    g_free(peek->name);
    g_free(peek->path);
    g_free(peek);
}

void agent_status_peek(Agent *agent)
{
    json_t *resources = agent_pacemaker_resources(agent->pacemaker);
    size_t index;
    json_t *resource;
    json_array_foreach (resources, index, resource) {
        const char *name = json_string_value(json_object_get(resource, "name"));
        g_autofree char *owner = agent_status_owner_of(agent, name);
        g_autoptr(HvDefinition) definition = agent_status_definition(agent, name);
        if (owner != NULL || definition == NULL ||
            !g_hash_table_add(agent->peeking, g_strdup(name))) // still waiting for its storage
            continue;
        Peek *peek = g_new0(Peek, 1);
        *peek = (Peek){.agent = agent,
                       .name = g_strdup(name),
                       .path = g_strdup(definition->state_area)};
        agent_worker_run(peek_run, peek_done, peek);
    }
    json_decref(resources);
}

// --- the API's objects ---

// Of one that no node has told to be running. SILENT: a node may run it that tells nothing.
static const char *state_of_stopped(Agent *agent, const char *name, const char *target_role,
                                    json_t *status, bool silent)
{
    const char *record = g_hash_table_lookup(agent->saved, name);
    if (record != NULL && strcmp(record, "sealed") == 0)
        return "saved";
    if (record != NULL && (strcmp(record, "quarantined") == 0 || strcmp(record, "damaged") == 0))
        return "failed";
    if (silent)
        return "unknown";
    bool wanted = target_role == NULL || strcmp(target_role, "Stopped") != 0;
    if (wanted && json_is_string(json_object_get(status, "error")))
        return "failed";
    return "stopped";
}

static json_t *newest_status(Agent *agent, const char *name, char **owner)
{
    *owner = agent_status_owner_of(agent, name);
    json_t *best = NULL;
    GHashTableIter iter;
    gpointer node, status;
    g_hash_table_iter_init(&iter, agent->peers);
    while (g_hash_table_iter_next(&iter, &node, &status)) {
        json_t *vm = find_named(json_object_get(status, "vms"), name);
        if (vm == NULL)
            continue;
        if (*owner != NULL && strcmp(node, *owner) == 0)
            return vm;
        json_int_t epoch = json_integer_value(json_object_get(vm, "epoch"));
        if (best == NULL || epoch > json_integer_value(json_object_get(best, "epoch")))
            best = vm;
    }
    return best;
}

static json_t *describe(Agent *agent, json_t *resource, bool silent)
{
    const char *name = json_string_value(json_object_get(resource, "name"));
    const char *text = json_string_value(json_object_get(resource, "definition"));
    const char *role = json_string_value(json_object_get(resource, "target_role"));
    g_autoptr(HvDefinition) definition = hv_definition_parse(text != NULL ? text : "", NULL);
    g_autofree char *owner = NULL;
    json_t *status = newest_status(agent, name, &owner);
    const char *record = owner == NULL ? g_hash_table_lookup(agent->saved, name) : NULL;
    json_t *object = status != NULL ? json_deep_copy(status) : json_object();
    json_object_set_new(object, "name", json_string(name));
    json_object_set_new(object, "node", or_null(owner));
    json_object_set_new(object, "target_role", json_string(role != NULL ? role : "Started"));
    if (owner == NULL) {
        json_object_set_new(object, "state",
                            json_string(state_of_stopped(agent, name, role, status, silent)));
        json_object_set_new(object, "pid", json_integer(0));
        json_object_set_new(object, "record_state", json_string(record ? record : "unknown"));
    }
    if (definition != NULL) {
        json_object_set_new(object, "uuid", json_string(definition->uuid));
        json_object_set_new(object, "memory_mib", json_integer((json_int_t)definition->memory_mib));
        json_object_set_new(object, "vcpus", json_integer(definition->vcpus));
        json_object_set_new(object, "definition", json_loads(text, 0, NULL));
    }
    return object;
}

json_t *agent_status_vms(Agent *agent)
{
    json_t *resources = agent_pacemaker_resources(agent->pacemaker);
    g_autofree char *silent = agent_status_silent_node(agent);
    json_t *vms = json_array();
    size_t index;
    json_t *resource;
    json_array_foreach (resources, index, resource)
        json_array_append_new(vms, describe(agent, resource, silent != NULL));
    json_decref(resources);
    return vms;
}

json_t *agent_status_vm(Agent *agent, const char *name)
{
    json_t *resources = agent_pacemaker_resources(agent->pacemaker);
    json_t *resource = find_named(resources, name);
    g_autofree char *silent = agent_status_silent_node(agent);
    json_t *vm = resource != NULL ? describe(agent, resource, silent != NULL) : NULL;
    json_decref(resources);
    return vm;
}

static json_t *names_on(json_t *status)
{
    json_t *names = json_array();
    size_t index;
    json_t *vm;
    json_array_foreach (json_object_get(status, "vms"), index, vm)
        if (has_qemu(vm))
            json_array_append(names, json_object_get(vm, "name"));
    return names;
}

json_t *agent_status_nodes(Agent *agent)
{
    json_t *nodes = agent_pacemaker_nodes(agent->pacemaker);
    size_t index;
    json_t *node;
    json_array_foreach (nodes, index, node) {
        const char *name = json_string_value(json_object_get(node, "name"));
        json_t *status = g_hash_table_lookup(agent->peers, name);
        json_object_set_new(node, "agent", json_boolean(status != NULL));
        if (status != NULL)
            json_object_update_missing(node, json_object_get(status, "node"));
        json_object_set_new(node, "vms", status != NULL ? names_on(status) : json_array());
    }
    return nodes;
}
