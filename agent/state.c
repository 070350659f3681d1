// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/state.h"

#include "agent/load.h"
#include "agent/messages.h"
#include "agent/migrate.h"
#include "agent/status.h"
#include "agent/vm.h"
#include "agent/witness.h"
#include "hvcore/filesystem.h"

// --- making and freeing ---

static void vm_free(gpointer vm)
{
    agent_vm_free(vm);
}

static void status_free(gpointer status)
{
    json_decref(status);
}

void agent_state_init(Agent *agent)
{
    agent->vms = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, vm_free);
    agent->peers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, status_free);
    agent->lost = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    agent->migrates = g_hash_table_new(g_str_hash, g_str_equal);
    agent->preferences = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    agent->changing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    agent->peeking = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    agent->saved = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_queue_init(&agent->deferred);
    agent->outbox = agent_outbox_new(agent_messages_held, agent);
}

void agent_state_clear(Agent *agent)
{
    agent_outbox_free(agent->outbox);
    g_hash_table_unref(agent->vms);
    g_clear_pointer(&agent->calls, g_hash_table_unref);
    g_hash_table_unref(agent->peers);
    g_hash_table_unref(agent->lost);
    g_hash_table_unref(agent->migrates);
    g_hash_table_unref(agent->preferences);
    g_hash_table_unref(agent->changing);
    g_hash_table_unref(agent->peeking);
    g_hash_table_unref(agent->saved);
    g_queue_clear_full(&agent->deferred, status_free);
}

// --- from time to time ---

// A VM that is no resource any more and has nothing here.
static gboolean is_forgotten(gpointer name, gpointer value, gpointer data)
{
    const AgentVm *vm = value;
    Agent *agent = data;
    g_autoptr(HvDefinition) definition = agent_status_definition(agent, name);
    return definition == NULL && !g_hash_table_contains(agent->changing, name) &&
           vm->state == AGENT_VM_ABSENT && vm->hv == NULL &&
           vm->writes == 0 && vm->mounts == 0 && !vm->giving_back && !hv_filesystems_held(name) &&
           g_queue_is_empty((GQueue *)&vm->starts) &&
           g_queue_is_empty((GQueue *)&vm->stops) && g_queue_is_empty((GQueue *)&vm->departs) &&
           g_queue_is_empty((GQueue *)&vm->arrivals) &&
           hv_vm_forget(agent->config->run_dir, name, NULL);
}

static void look_after_vms(Agent *agent)
{
    GHashTableIter iter;
    gpointer vm;
    g_hash_table_iter_init(&iter, agent->vms);
    while (g_hash_table_iter_next(&iter, NULL, &vm))
        agent_load_settle(vm);
    if (agent_pacemaker_connected(agent->pacemaker) &&
        agent_pacemaker_joined(agent->pacemaker, agent->name) &&
        agent_cluster_quorate(agent->cluster))
        g_hash_table_foreach_remove(agent->vms, is_forgotten, agent);
}

void agent_state_housekeep(Agent *agent)
{
    agent_migrate_sweep(agent);
    agent_witness_sweep(agent);
    look_after_vms(agent);
    agent_status_peek(agent);
    agent_status_changed(agent); // free memory drifts; and who is silent for long has no say
}
