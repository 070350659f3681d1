// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/agent.h"

#include "agent/last_move.h"
#include "agent/messages.h"
#include "agent/state.h"
#include "agent/status.h"
#include "agent/vm.h"
#include "agent/worker.h"
#include "hvcore/storage_path.h"

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

static gboolean housekeeping(gpointer data)
{
    Agent *agent = data;
    sd_notify(0, "WATCHDOG=1");
    if (agent->ready)
        agent_state_housekeep(agent);
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

Agent *agent_new(AgentConfig *config, GError **error)
{
    g_autoptr(Agent) agent = g_new0(Agent, 1);
    agent->config = config;
    agent->name = g_strdup("");
    agent_state_init(agent);
    if (g_mkdir_with_parents(config->run_dir, 0700) != 0) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_FAILED, "%s: %s", config->run_dir,
                    g_strerror(errno));
        return NULL;
    }
    hv_storage_set_run_dir(config->run_dir);
    g_autofree char *launcher = g_build_filename(config->libexec_dir, "vmferry-launch", NULL);
    const HvNodeSetup setup = {config->qemu, launcher, config->qemu_user, config->accelerator};
    agent->node = hv_node_probe(&setup, error);
    if (agent->node == NULL)
        return NULL;
    agent->pacemaker = agent_pacemaker_new(&pacemaker_events, agent);
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
    agent_cluster_free(agent->cluster);
    agent_state_clear(agent);
    agent_jobs_free(agent->jobs);
    agent_events_free(agent->events);
    hv_node_free(agent->node);
    agent_config_free(agent->config);
    g_free(agent->name);
    g_free(agent);
}
