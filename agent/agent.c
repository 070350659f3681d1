// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/agent.h"

#include "agent/last_move.h"
#include "agent/load.h"
#include "agent/messages.h"
#include "agent/migrate.h"
#include "agent/status.h"
#include "agent/vm.h"
#include "agent/witness.h"
#include "agent/worker.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

char *agent_new_id(Agent *agent)
{
    return g_strdup_printf("%s-%" G_GINT64_FORMAT "-%u", agent->name,
                           g_get_real_time() / G_TIME_SPAN_MILLISECOND, ++agent->next_id);
}

static void tell_event(json_t *event, gpointer data)
{
    Agent *agent = data;
    const char *node = json_string_value(json_object_get(event, "node"));
    if (g_strcmp0(node, agent->name) == 0 && agent_cluster_connected(agent->cluster))
        agent_messages_send_event(agent, event);
    agent_last_move_see(agent, event);
}

static void tell_job(json_t *job, gpointer data)
{
    Agent *agent = data;
    if (agent_cluster_connected(agent->cluster))
        agent_messages_send_job(agent, job);
}

// A VM that is no resource any more and has nothing here.
static gboolean is_forgotten(gpointer name, gpointer value, gpointer data)
{
    const AgentVm *vm = value;
    Agent *agent = data;
    g_autoptr(HvDefinition) definition = agent_status_definition(agent, name);
    return definition == NULL && vm->state == AGENT_VM_ABSENT && vm->hv == NULL &&
           vm->writes == 0 &&
           g_queue_is_empty((GQueue *)&vm->starts) && g_queue_is_empty((GQueue *)&vm->stops) &&
           g_queue_is_empty((GQueue *)&vm->departs) && g_queue_is_empty((GQueue *)&vm->arrivals) &&
           hv_vm_forget(agent->config->run_dir, name, NULL);
}

static void look_after_vms(Agent *agent)
{
    GHashTableIter iter;
    gpointer vm;
    g_hash_table_iter_init(&iter, agent->vms);
    while (g_hash_table_iter_next(&iter, NULL, &vm))
        agent_load_settle(vm);
    if (agent_pacemaker_connected(agent->pacemaker) && agent_cluster_quorate(agent->cluster))
        g_hash_table_foreach_remove(agent->vms, is_forgotten, agent);
}

static gboolean housekeeping(gpointer data)
{
    Agent *agent = data;
    sd_notify(0, "WATCHDOG=1");
    if (!agent->ready)
        return G_SOURCE_CONTINUE;
    agent_migrate_sweep(agent);
    agent_witness_sweep(agent);
    look_after_vms(agent);
    agent_status_peek(agent);
    agent_status_changed(agent); // free memory drifts
    return G_SOURCE_CONTINUE;
}

// Without its sockets or its name the agent is of no use. The VMs run on; the next one adopts them.
static void give_up(const char *why)
{
    g_critical("%s", why);
    exit(1);
}

// --- from the first word of corosync to an open API ---

static void adopted_all(Agent *agent)
{
    g_autoptr(GError) error = NULL;
    agent->ready = true;
    agent->ra = agent_ra_socket_new(agent, agent->config->run_dir, &error);
    if (agent->ra == NULL)
        give_up(error->message);
    agent_messages_flush(agent);
    agent_vm_settle_adopted(agent);
    agent_status_changed(agent);
    agent_status_peek(agent);
    sd_notify(0, "READY=1");
    g_message("ready on %s: QEMU %s, %s (%s)", agent->name, agent->node->qemu_version,
              agent->node->accelerator, agent->node->accelerator_reason);
}

void agent_connected(Agent *agent)
{
    const char *name = agent_cluster_local_node(agent->cluster);
    if (agent->adopting) {
        if (strcmp(agent->name, name) != 0)
            give_up("this node's name in corosync.conf changed");
        agent_status_changed(agent);
        return;
    }
    agent->adopting = true;
    g_free(agent->name);
    agent->name = g_strdup(name);
    agent->events = agent_events_new(name);
    agent_events_follow(agent->events, tell_event, agent);
    agent->jobs = agent_jobs_new(name, tell_job, agent);
    g_autoptr(GError) error = NULL;
    agent->http = agent_http_new(agent, agent->config, &error);
    if (agent->http == NULL)
        give_up(error->message);
    agent_vm_adopt_all(agent, adopted_all);
}

static void cib_changed(gpointer data)
{
    Agent *agent = data;
    if (!agent->ready)
        return;
    agent_status_peek(agent);
    agent_status_changed(agent); // what is pending may be another
}

static const AgentPacemakerEvents pacemaker_events = {.changed = cib_changed};

// --- making one ---

static void vm_free(gpointer vm)
{
    agent_vm_free(vm);
}

static void status_free(gpointer status)
{
    json_decref(status);
}

Agent *agent_new(AgentConfig *config, GError **error)
{
    g_autoptr(Agent) agent = g_new0(Agent, 1);
    agent->config = config;
    agent->name = g_strdup("");
    agent->vms = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, vm_free);
    agent->peers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, status_free);
    agent->lost = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    agent->migrates = g_hash_table_new(g_str_hash, g_str_equal);
    agent->preferences = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    agent->peeking = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    agent->saved = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_queue_init(&agent->deferred);
    if (g_mkdir_with_parents(config->run_dir, 0700) != 0) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_FAILED, "%s: %s", config->run_dir,
                    g_strerror(errno));
        return NULL;
    }
    agent->node = hv_node_probe(config->qemu, error);
    if (agent->node == NULL)
        return NULL;
    agent->pacemaker = agent_pacemaker_new(&pacemaker_events, agent);
    agent->outbox = agent_outbox_new(agent_messages_held, agent);
    agent->cluster = agent_cluster_new(&agent_messages_cluster_events, agent);
    g_timeout_add_seconds(AGENT_HOUSEKEEPING_S, housekeeping, agent);
    return g_steal_pointer(&agent);
}

void agent_free(Agent *agent)
{
    agent_worker_end(); // before the others are told that this agent's writes are over
    agent_http_free(agent->http);
    agent_ra_socket_free(agent->ra);
    agent_pacemaker_free(agent->pacemaker);
    agent_outbox_free(agent->outbox);
    agent_cluster_free(agent->cluster);
    g_hash_table_unref(agent->vms);
    g_clear_pointer(&agent->calls, g_hash_table_unref);
    g_hash_table_unref(agent->peers);
    g_hash_table_unref(agent->lost);
    g_hash_table_unref(agent->migrates);
    g_hash_table_unref(agent->preferences);
    g_hash_table_unref(agent->peeking);
    g_hash_table_unref(agent->saved);
    g_queue_clear_full(&agent->deferred, status_free);
    agent_jobs_free(agent->jobs);
    agent_events_free(agent->events);
    hv_node_free(agent->node);
    agent_config_free(agent->config);
    g_free(agent->name);
    g_free(agent);
}
