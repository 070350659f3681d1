// SPDX-License-Identifier: GPL-2.0-or-later
// A node's life, and the parts of the cluster that follow it.
#pragma once

#include "tests/sim/world.h"

void sim_node_boot(SimNode *node);
void sim_node_power_off(SimNode *node, OracleEnd why);
void sim_agent_start(SimNode *node);
void sim_agent_kill(SimNode *node);
void sim_node_may_be_gone(SimNode *node); // a killed vmferryd: its last I/O has ended
SimNode *sim_node_named(const char *name);
SimNode *sim_node_of(const char *run_dir);
void sim_node_bury(SimNode *node);   // gives back what is left of a vmferryd
AgentVm *sim_node_vm(SimNode *node); // NULL: none known

// --- cpg.c ---
void sim_cpg_reset(void);
void sim_cpg_join(SimNode *node);
void sim_cpg_leave(SimNode *node);
void sim_cpg_node_lost(SimNode *node);
// COMPONENT's members or their links changed; in US there is a new membership.
void sim_cpg_form(int component, gint64 us);
bool sim_node_quorate(const SimNode *node);

// --- pacemaker.c ---
void sim_pacemaker_wake(void);
void sim_pacemaker_reset(void);
void sim_pacemaker_node_gone(SimNode *node);             // no power
void sim_pacemaker_agent_gone(SimNode *node);            // its connections broke
void sim_pacemaker_force(SimNode *node, const char *op); // an admin's crm_resource --force-*
bool sim_pacemaker_is_idle(void);
const char *sim_pacemaker_doing(void); // an operation, or "idle"
