// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/sim/fault.h"

#include "tests/sim/node.h"
#include "tests/sim/qemu.h"
#include "tests/sim/report.h"

#include <string.h>

enum { PLANNED = 4, TYPICAL_STEPS = 130, SOON_STEPS = 12 };

typedef struct {
    SimFault fault;
    enum { AT_OWNER, AT_OTHER, ANYWHERE } where;
    unsigned move;        // in which it happens
    uint64_t after_steps; // since that move's beginning
    bool done;
} Planned;

static Planned plan[PLANNED];
static unsigned n_planned, moves;
static uint64_t move_began;
static SimNode *owner, *other; // of the move that began last
static unsigned armed[SIM_N_FAULTS];

static const struct {
    const char *name, *text;
    bool hard;
} faults[] = {
#define SIM_FAULT(id, name, hard, text) [FAULT_##id] = {name, text, hard},
#include "tests/sim/faults.def"
};

const char *sim_fault_name(SimFault fault)
{
    return faults[fault].name;
}

bool sim_fault_is_hard(SimFault fault)
{
    return faults[fault].hard;
}

static void count(SimFault fault)
{
    world.faults++;
    world.hard_faults += faults[fault].hard;
    sim_report_fault(fault);
}

bool sim_fault_now(SimFault fault)
{
    if (armed[fault] == 0 || world.healed)
        return false;
    armed[fault]--;
    world.storage_damage += fault == FAULT_IMAGE_DAMAGED;
    SIM_TRACE("fault: %s", faults[fault].text);
    count(fault);
    return true;
}

// --- the plan ---

static unsigned how_many(void)
{
    unsigned dice = sim_below(100);
    return dice < 8 ? 0 : dice < 50 ? 1 : dice < 80 ? 2 : dice < 93 ? 3 : 4;
}

static void force_start_in_partition(Planned *planned)
{
    armed[FAULT_FORCE_START]++;
    planned->fault = FAULT_PARTITION;
}

// Half of the faults that are not the first follow soon on the one before: the second fault of a
// move is the interesting one.
void sim_faults_plan(void)
{
    memset(armed, 0, sizeof armed);
    moves = 0;
    move_began = 0;
    owner = other = NULL;
    n_planned = how_many();
    for (unsigned i = 0; i < n_planned; i++) {
        plan[i] = (Planned){.fault = (SimFault)sim_below(SIM_N_FAULTS),
                            .where = sim_below(3),
                            .move = sim_chance(750) ? 1 : 2,
                            .after_steps = sim_below(TYPICAL_STEPS)};
        if (plan[i].fault == FAULT_FORCE_START) // its occasion
            force_start_in_partition(&plan[i]);
        if (i > 0 && sim_chance(500)) {
            plan[i].move = plan[i - 1].move;
            plan[i].after_steps = plan[i - 1].after_steps + sim_below(SOON_STEPS);
        }
    }
}

static SimNode *any_node(void)
{
    return &world.node[sim_below(world.nodes)];
}

static SimNode *running_node(void)
{
    for (unsigned i = 0; i < world.nodes; i++)
        if (sim_qemu_lives(world.node[i].qemu) && world.node[i].qemu->run_state == HV_RUN_RUNNING)
            return &world.node[i];
    return any_node();
}

void sim_faults_moving(void)
{
    moves++;
    move_began = world.steps;
    owner = running_node();
    other = world.prefer >= 0 ? &world.node[world.prefer] : any_node();
}

// --- each fault ---

static void thaw(gpointer data)
{
    SimNode *node = data;
    SIM_TRACE("%s: SIGCONT", node->name);
    sim_freeze(&node->agent_process, false);
    if (node->qemu != NULL)
        sim_freeze(&node->qemu->actor, false);
}

static void freeze(SimNode *node, bool qemu)
{
    sim_freeze(&node->agent_process, true);
    if (qemu && sim_qemu_lives(node->qemu))
        sim_freeze(&node->qemu->actor, true);
    sim_after(&node->os, (gint64)(1 + sim_below(sim_chance(500) ? 20 : 700)) * SIM_S, thaw, node,
              NULL);
}

static void mend_partition(gpointer data)
{
    (void)data;
    SIM_TRACE("the network is whole again");
    for (unsigned i = 0; i < world.nodes; i++)
        world.node[i].component = 0;
    sim_cpg_form(0, sim_between(SIM_S / 2, SIM_S));
}

static void partition(SimNode *alone)
{
    for (unsigned i = 0; i < world.nodes; i++)
        world.node[i].component = 0;
    alone->component = 1;
    sim_cpg_form(0, sim_between(SIM_S, 2 * SIM_S));
    sim_cpg_form(1, sim_between(SIM_S, 2 * SIM_S));
    sim_after(NULL, (gint64)(2 + sim_below(118)) * SIM_S, mend_partition, NULL, NULL);
}

static void has_space(gpointer data)
{
    ((SimNode *)data)->no_space = false;
}

static void fill(SimNode *node)
{
    node->no_space = true;
    sim_after(&node->os, (gint64)(1 + sim_below(60)) * SIM_S, has_space, node, NULL);
}

static void hang(SimNode *node, unsigned longest_s, bool only_writes)
{
    node->only_writes_hang = only_writes;
    node->hang_until_us =
        world.now_us + 100 * SIM_MS + (gint64)sim_below(longest_s * 1000) * SIM_MS;
}

static void standby_over(gpointer data)
{
    ((SimNode *)data)->lrm.standby = false;
    sim_pacemaker_wake();
}

static void standby(SimNode *node)
{
    node->lrm.standby = true;
    sim_after(NULL, sim_around(20 * SIM_S), standby_over, node, NULL);
    sim_pacemaker_wake();
}

static void fail_told(SimNode *node)
{
    node->lrm.failed |= node->lrm.active;
    sim_pacemaker_wake();
}

// False: there is nothing there that it could happen to.
static bool strike(SimFault fault, SimNode *node)
{
    switch (fault) {
    case FAULT_AGENT_KILLED:
        if (node->agent == NULL || node->dying)
            return false;
        sim_agent_kill(node);
        return true;
    case FAULT_SAVER_KILLED:
        return sim_kill_saver(node);
    case FAULT_PAGER_KILLED:
        return sim_kill_pager(node);
    case FAULT_QEMU_KILLED:
        if (!sim_qemu_lives(node->qemu))
            return false;
        sim_qemu_killed(node->qemu, ORACLE_BY_FAULT);
        return true;
    case FAULT_NODE_LOST:
        if (!node->on)
            return false;
        sim_node_power_off(node, ORACLE_BY_FAULT);
        sim_pacemaker_wake();
        return true;
    case FAULT_PARTITION:
        partition(node);
        return true;
    case FAULT_FROZEN:
    case FAULT_AGENT_FROZEN:
        freeze(node, fault == FAULT_FROZEN);
        return true;
    case FAULT_EIO:
    case FAULT_ONE_WRITE:
        node->io_errors += fault == FAULT_EIO ? 2 + (int)sim_below(6) : 1;
        return true;
    case FAULT_ENOSPC:
        fill(node);
        return true;
    case FAULT_HANG:
    case FAULT_WRITES_HANG:
        hang(node, sim_chance(500) ? 60 : 400, fault == FAULT_WRITES_HANG);
        return true;
    case FAULT_SHORT_HANG:
        hang(node, 5, sim_chance(500));
        return true;
    case FAULT_SLOW_MESSAGES:
        node->slow_until_us = world.now_us + sim_below(10) * SIM_S;
        return true;
    case FAULT_FENCING_FAILS:
        world.fencing_failures = 3;
        return true;
    case FAULT_FORCE_STOP:
        sim_pacemaker_force(node, "stop");
        return true;
    case FAULT_STANDBY:
        standby(node);
        return true;
    case FAULT_FAIL_TOLD:
        fail_told(node);
        return true;
    default: // waits for its occasion
        armed[fault]++;
        return false;
    }
}

static SimNode *place_of(const Planned *planned)
{
    SimNode *node = planned->where == AT_OWNER ? owner : planned->where == AT_OTHER ? other : NULL;
    return node != NULL ? node : any_node();
}

void sim_faults_look(void)
{
    for (unsigned i = 0; i < n_planned; i++) {
        Planned *planned = &plan[i];
        if (planned->done || planned->move != moves ||
            world.steps < move_began + planned->after_steps)
            continue;
        planned->done = true;
        SimNode *node = place_of(planned);
        if (world.tracing)
            sim_trace("fault: %s (%s)", faults[planned->fault].text, node->name);
        if (node->on && strike(planned->fault, node))
            count(planned->fault);
    }
}

void sim_faults_heal(void)
{
    world.healed = true;
    memset(armed, 0, sizeof armed);
    mend_partition(NULL);
    world.fencing_failures = 0;
    for (unsigned i = 0; i < world.nodes; i++) {
        SimNode *node = &world.node[i];
        node->no_space = false;
        node->io_errors = 0;
        node->hang_until_us = 0;
        node->lrm.standby = node->lrm.banned = false;
        if (node->agent_process.frozen)
            thaw(node);
        if (!node->on)
            sim_node_boot(node);
    }
}
