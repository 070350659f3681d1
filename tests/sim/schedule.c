// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/sim/schedule.h"

#include "agent/migrate.h"
#include "agent/vm.h"
#include "migrate/area.h"
#include "tests/sim/fault.h"
#include "tests/sim/node.h"
#include "tests/sim/parts.h"
#include "tests/sim/qemu.h"
#include "tests/sim/report.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_STEPS = 60 * 1000,
    SETTLE_S = 1500, // after the last fault: longer than any operation's timeout
    QUIET_S = 25,
    ACTION_S = 45,
    ACTIONS = 3,
    CLEANUPS = 2,
};

World world;
uint64_t sim_random_state;
static char why[512];

typedef enum { ACT_MOVE, ACT_STANDBY, ACT_STOP_START } Act;

static struct {
    unsigned left, done, cleanups;
    gint64 next_us, quiet_since_us, healed_us;
} script;

const char *sim_schedule_why(void)
{
    return why;
}

const char *sim_end_text(SimEnd end)
{
    static const char *const texts[] = {
#define SIM_END(id, text) text,
#include "tests/sim/ends.def"
    };
    return texts[end];
}

void sim_trace(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%10.4f ", (double)(world.now_us - world.began_us) / SIM_S);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

static void product_log(const char *domain, GLogLevelFlags level, const char *message,
                        gpointer data)
{
    (void)domain;
    (void)data;
    if (world.tracing || (level & G_LOG_LEVEL_ERROR))
        sim_trace("%s: %s", world.here != NULL ? world.here->name : "", message);
}

void sim_count_event(const char *type)
{
    world.moves_done += strcmp(type, "move.done") == 0;
    world.moves_given_up += strcmp(type, "move.given-up") == 0;
    world.restores += strcmp(type, "move.arrived") == 0;
    world.cold_starts += strcmp(type, "vm.cold-after-loss") == 0;
}

// --- the beginning ---

static void init_node(SimNode *node, int index)
{
    *node = (SimNode){.index = index};
    snprintf(node->name, sizeof node->name, "n%d", index + 1);
    snprintf(node->run_dir, sizeof node->run_dir, "/run/%s", node->name);
    node->os.node = node->agent_process.node = node;
    node->on = node->seen_all = true;
    node->view = (1U << world.nodes) - 1;
    node->lrm.moved_to = -1;
    sim_agent_start(node);
}

static void init(uint64_t seed, bool tracing)
{
    sim_seed(seed);
    memset(&world, 0, offsetof(World, oracle));
    memset(&world.steps, 0, sizeof world - offsetof(World, steps));
    HvOnStop on_stop = sim_chance(850) ? HV_ON_STOP_SAVE : HV_ON_STOP_SHUTDOWN;
    oracle_init(&world.oracle);
    world.now_us = world.began_us = G_GINT64_CONSTANT(1000) * SIM_S;
    world.tracing = tracing;
    world.nodes = sim_chance(600) ? 3 : 2;
    world.two_node = sim_chance(500);
    world.prefer = -1;
    world.role_started = true;
    world.phase = "idle";
    memset(&script, 0, sizeof script);
    script.left = 1 + sim_below(ACTIONS);
    world.keeps_memory = on_stop == HV_ON_STOP_SAVE;
    sim_definition_set(on_stop, sim_chance(700) ? HV_RESTORE_LAZY : HV_RESTORE_EAGER);
    sim_clock_reset();
    sim_storage_reset();
    sim_qemu_reset();
    sim_helpers_reset();
    sim_cpg_reset();
    for (unsigned i = 0; i < world.nodes; i++)
        init_node(&world.node[i], (int)i);
    sim_pacemaker_reset();
    sim_faults_plan();
}

static void clear(void)
{
    for (unsigned i = 0; i < world.nodes; i++)
        sim_node_bury(&world.node[i]);
    sim_clock_reset();
}

// --- what the admin does ---

static void replied(json_t *result, const GError *error, gpointer data)
{
    (void)result;
    (void)data;
    if (error != NULL)
        SIM_TRACE("the move is not begun: %s", error->message);
}

static SimNode *owner(void)
{
    for (unsigned i = 0; i < world.nodes; i++) {
        AgentVm *vm = sim_node_vm(&world.node[i]);
        if (vm != NULL && world.node[i].agent->ready && vm->state == AGENT_VM_RUNNING &&
            !world.node[i].agent_process.frozen)
            return &world.node[i];
    }
    return NULL;
}

static void begin_move(void)
{
    SimNode *from = owner();
    if (from == NULL)
        return;
    SimNode *to =
        &world.node[((unsigned)from->index + 1 + sim_below(world.nodes - 1)) % world.nodes];
    SIM_TRACE("an admin moves the VM from %s to %s", from->name, to->name);
    world.here = from;
    world.moves_asked++;
    agent_migrate_request(from->agent, SIM_VM, sim_chance(800) ? to->name : NULL, replied, NULL);
}

static void standby_over(gpointer data)
{
    ((SimNode *)data)->lrm.standby = false;
    sim_pacemaker_wake();
}

static void begin_standby(void)
{
    SimNode *from = owner();
    if (from == NULL)
        return;
    SIM_TRACE("%s is set standby", from->name);
    from->lrm.standby = true;
    sim_after(NULL, sim_around(20 * SIM_S), standby_over, from, NULL);
    sim_pacemaker_wake();
}

static void start_again(gpointer data)
{
    (void)data;
    SIM_TRACE("the VM is wanted Started");
    world.role_started = true;
    sim_pacemaker_wake();
}

static void begin_stop(void)
{
    SIM_TRACE("the VM is wanted Stopped");
    world.role_started = false;
    sim_after(NULL, sim_around(5 * SIM_S), start_again, NULL, NULL);
    sim_pacemaker_wake();
}

static void act(void)
{
    unsigned dice = sim_below(100);
    script.left--;
    script.done++;
    script.next_us = world.now_us + ACTION_S * SIM_S;
    if (dice < 65)
        begin_move();
    else if (dice < 80)
        begin_standby();
    else
        begin_stop();
    sim_faults_moving();
}

// --- where it ends ---

// The VM runs once, where Pacemaker has it and the record says.
static bool runs_well(void)
{
    FerryRecord record;
    char text[256];
    SimNode *node = owner();
    if (node == NULL || world.oracle.running != 1 || !node->lrm.active || node->lrm.failed ||
        !sim_qemu_lives(node->qemu) || node->qemu->run_state != HV_RUN_RUNNING ||
        !sim_storage_is_readable(&record, text, sizeof text))
        return false;
    return record.state == FERRY_RUNNING && strcmp(record.owner, node->name) == 0;
}

static bool is_calm(void)
{
    for (unsigned i = 0; i < world.nodes; i++) {
        const AgentVm *vm = sim_node_vm(&world.node[i]);
        if (world.node[i].agent == NULL || !world.node[i].agent->ready ||
            (vm != NULL && vm->state != AGENT_VM_ABSENT && vm->state != AGENT_VM_RUNNING))
            return false;
    }
    return sim_pacemaker_is_idle();
}

static bool no_copy_is_left(void)
{
    for (unsigned i = 0; i < world.nodes; i++)
        if (sim_qemu_lives(world.node[i].qemu))
            return false;
    return true;
}

static SimEnd violation(const char *format, ...) G_GNUC_PRINTF(1, 2);
static SimEnd violation(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return END_VIOLATION;
}

// What a fault that costs nobody a node or a guest must not lead to.
static SimEnd judge_gentle(SimEnd end)
{
    if (world.faults > 1 || world.hard_faults > 0)
        return end;
    if (world.fences > 0)
        return violation("a node was fenced without need");
    if (world.keeps_memory && world.oracle.lost_to_product + world.oracle.lost_to_others > 0)
        return violation("the guest's memory was lost without need");
    return end == END_RUNS_COLD || end == END_RUNS_WARM ? end : violation("it does not run");
}

static SimEnd judge(void)
{
    FerryRecord record = {0};
    char text[256] = "";
    bool readable = sim_storage_is_readable(&record, text, sizeof text);
    unsigned lost = world.oracle.lost_to_product + world.oracle.lost_to_others;
    if (runs_well())
        return judge_gentle(lost > 0 ? END_RUNS_COLD : END_RUNS_WARM);
    if (!is_calm() || !no_copy_is_left())
        return violation("%d s after the last fault it does not run, and nothing says why: record "
                         "%s of %s, last error: %s",
                         SETTLE_S, readable ? ferry_state_name(record.state) : text, record.owner,
                         world.last_error);
    if (readable && record.state == FERRY_QUARANTINED && world.storage_damage > 0)
        return judge_gentle(END_QUARANTINED);
    if (!readable && world.storage_damage > 0)
        return judge_gentle(END_DAMAGED);
    return violation("stopped, and nothing says why: record %s of %s, last error: %s",
                     readable ? ferry_state_name(record.state) : text, record.owner,
                     world.last_error);
}

// --- time passes ---

static void heal(void)
{
    SIM_TRACE("no fault comes any more");
    script.healed_us = world.now_us;
    world.role_started = true;
    sim_faults_heal();
    sim_pacemaker_wake();
}

// An admin's crm_resource --cleanup: a node on which a start failed may be tried again.
static void clean_up(void)
{
    SIM_TRACE("an admin cleans up");
    script.cleanups++;
    script.quiet_since_us = world.now_us;
    for (unsigned i = 0; i < world.nodes; i++)
        world.node[i].lrm.banned = false;
    sim_pacemaker_wake();
}

// True: this is how it ends.
static bool go_along(void)
{
    gint64 now = world.now_us;
    bool calm = is_calm() && (runs_well() || no_copy_is_left());
    if (!calm)
        script.quiet_since_us = now;
    bool quiet = now - script.quiet_since_us > QUIET_S * SIM_S;
    if (script.healed_us != 0 && calm && !runs_well() && script.cleanups < CLEANUPS &&
        now - script.quiet_since_us > 5 * SIM_S)
        clean_up();
    if (script.healed_us != 0)
        return now - script.healed_us > SETTLE_S * SIM_S ||
               (quiet && now - script.healed_us > QUIET_S * SIM_S);
    if (script.left > 0 && ((calm && runs_well() && now - script.quiet_since_us > 2 * SIM_S) ||
                            (script.done > 0 && now > script.next_us)))
        act();
    else if (script.left == 0 && (quiet || now > script.next_us + 300 * SIM_S))
        heal();
    else if (script.done == 0 && now - world.began_us > 300 * SIM_S)
        heal();
    return false;
}

SimEnd sim_schedule(uint64_t seed, bool tracing)
{
    init(seed, tracing);
    g_log_set_default_handler(product_log, NULL);
    gint64 look_us = 0;
    SimEnd end = END_VIOLATION;
    why[0] = '\0';
    while (sim_step()) {
        if (world.oracle.violated) {
            violation("%s", world.oracle.why);
            break;
        }
        if (world.steps > MAX_STEPS) {
            violation("it does not come to rest");
            break;
        }
        if (!world.healed)
            sim_faults_look();
        if (world.now_us < look_us)
            continue;
        look_us = world.now_us + SIM_S;
        if (go_along()) {
            end = judge();
            break;
        }
    }
    sim_report_schedule(end);
    clear();
    return end;
}
