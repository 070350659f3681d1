// SPDX-License-Identifier: GPL-2.0-or-later
// A node's power and its vmferryd: what agent/agent.c does from corosync's first word to the open
// socket, with the simulation's parts.
#include "tests/sim/node.h"

#include "agent/messages.h"
#include "agent/state.h"
#include "agent/status.h"
#include "agent/vm.h"
#include "tests/sim/qemu.h"

enum {
    HOUSEKEEPING_US = AGENT_HOUSEKEEPING_S * SIM_S,
    RESTART_US = 800 * SIM_MS, // systemd's RestartSec and vmferryd's first words with corosync
    TOKEN_US = 1500 * SIM_MS,
};

static HvNode hv_node = {.qemu_path = (char *)"qemu",
                         .qemu_version = (char *)"7.2.22",
                         .accelerator = (char *)"kvm",
                         .accelerator_reason = (char *)"",
                         .userfaultfd = true,
                         .memory_mib = 65536,
                         .cpus = 8};

SimNode *sim_node_named(const char *name)
{
    for (unsigned i = 0; i < world.nodes; i++)
        if (g_str_equal(world.node[i].name, name))
            return &world.node[i];
    g_error("there is no node %s", name);
}

SimNode *sim_node_of(const char *run_dir)
{
    for (unsigned i = 0; i < world.nodes; i++)
        if (g_str_has_prefix(run_dir, world.node[i].run_dir))
            return &world.node[i];
    g_error("%s is no node's", run_dir);
}

AgentVm *sim_node_vm(SimNode *node)
{
    return node->agent != NULL ? agent_vm_find(node->agent, SIM_VM) : NULL;
}

// --- vmferryd ---

static void housekeeping(gpointer data)
{
    SimNode *node = data;
    agent_state_housekeep(node->agent);
    sim_quietly_after(&node->agent_process, HOUSEKEEPING_US, housekeeping, node, NULL);
}

static void adopted_all(Agent *agent)
{
    SimNode *node = sim_node_named(agent->name);
    agent->ready = true;
    node->agent_known = true;
    SIM_TRACE("%s: vmferryd is ready", node->name);
    agent_messages_flush(agent);
    agent_vm_settle_adopted(agent);
    agent_status_changed(agent);
    sim_quietly_after(&node->agent_process, HOUSEKEEPING_US, housekeeping, node, NULL);
    sim_pacemaker_wake();
}

static Agent *new_agent(SimNode *node)
{
    Agent *agent = g_new0(Agent, 1);
    agent->config = g_new0(AgentConfig, 1);
    agent->config->run_dir = node->run_dir;
    agent->config->libexec_dir = (char *)"/libexec";
    agent->config->listen = g_new0(char *, 1);
    agent->node = &hv_node;
    agent->name = g_strdup(node->name);
    agent_state_init(agent);
    return agent;
}

void agent_connected(Agent *agent)
{
    agent->adopting = true;
    agent_vm_adopt_all(agent, adopted_all);
}

static void agent_begins(gpointer data)
{
    SimNode *node = data;
    if (node->agent != NULL || node->dying)
        return;
    SIM_TRACE("%s: vmferryd starts", node->name);
    node->inbox_us = node->pipe_us = world.now_us;
    node->agent = new_agent(node);
    sim_cpg_join(node);
    node->agent->cluster = node->cluster;
    agent_connected(node->agent);
}

void sim_agent_start(SimNode *node)
{
    sim_after(&node->os, sim_between(RESTART_US / 2, 5 * RESTART_US), agent_begins, node, NULL);
}

// Its memory is given back; nothing of it acts any more.
void sim_node_bury(SimNode *node)
{
    Agent *agent = node->agent;
    if (agent == NULL)
        return;
    world.here = node;
    g_hash_table_remove_all(agent->vms);
    sim_storage_forget_jobs(node);
    agent_state_clear(agent);
    g_free(agent->config->listen);
    g_free(agent->config);
    g_free(agent->name);
    g_free(agent);
    node->agent = NULL;
    g_clear_pointer(&node->cluster, g_free);
}

void sim_node_may_be_gone(SimNode *node)
{
    if (!node->dying || !sim_storage_agent_lost(node))
        return;
    node->dying = false;
    sim_node_bury(node);
    sim_cpg_leave(node);
    sim_agent_start(node);
}

void sim_agent_kill(SimNode *node)
{
    if (node->agent == NULL || node->dying)
        return;
    SIM_TRACE("%s: vmferryd is killed", node->name);
    node->dying = true;
    sim_end_life(&node->agent_process);
    sim_helpers_agent_gone(node);
    sim_pacemaker_agent_gone(node);
    sim_node_may_be_gone(node);
}

// --- power ---

void sim_node_boot(SimNode *node)
{
    SIM_TRACE("%s boots", node->name);
    node->on = true;
    node->clean = false;
    node->agent_known = false;
    node->view = 1U << node->index;
    node->seen_all = false;
    node->lrm = (SimLrm){.moved_to = -1, .standby = node->lrm.standby};
    sim_cpg_form(node->component, sim_between(SIM_S / 2, SIM_S));
    sim_agent_start(node);
}

void sim_node_power_off(SimNode *node, OracleEnd why)
{
    if (!node->on)
        return;
    SIM_TRACE("%s has no power any more", node->name);
    world.node_losses++;
    node->on = false;
    node->dying = false;
    sim_end_life(&node->os);
    sim_end_life(&node->agent_process);
    sim_helpers_node_lost(node);
    if (sim_qemu_lives(node->qemu))
        sim_qemu_killed(node->qemu, why);
    sim_storage_node_lost(node);
    sim_pacemaker_node_gone(node);
    sim_node_bury(node);
    node->qemu = NULL;
    g_clear_pointer(&node->note, g_free);
    node->hang_until_us = 0;
    node->io_errors = 0;
    node->no_space = false;
    sim_cpg_node_lost(node);
    sim_cpg_form(node->component, sim_between(TOKEN_US / 2, 2 * TOKEN_US));
}
