// SPDX-License-Identifier: GPL-2.0-or-later
// Pacemaker for one resource, in the place of agent/pacemaker.h: each membership has a policy
// engine that sees the history of its nodes. Without quorum it stops the VM
// (no-quorum-policy=stop); with quorum it fences who was lost or whose stop failed, and only then
// starts. Its operations go through the resource agent, as resource-agents/ does it: asked again
// while vmferryd is down, and a stop then ends QEMU itself.
#include "agent/pacemaker.h"
#include "tests/sim/node.h"
#include "resource-agents/actions.h"
#include "tests/sim/qemu.h"

#include <string.h>

enum {
    THINK_US = 150 * SIM_MS,
    MONITOR_US = 10 * SIM_S,
    AGAIN_US = 500 * SIM_MS, // the resource agent's, while vmferryd is down
    FENCE_US = 2 * SIM_S,
    REBOOT_US = 30 * SIM_S,
    OCF_SUCCESS = 0,
    OCF_ERR_GENERIC = 1,
    OCF_NOT_RUNNING = 7,
};

typedef enum {
    OP_START,
    OP_STOP,
    OP_MONITOR,
    OP_PROBE,
    OP_MIGRATE_TO,
    OP_MIGRATE_FROM,
    OP_FORCED, // by an admin: Pacemaker does not know of it
} OpKind;

static const struct {
    const char *name;
    unsigned timeout_s;
} ops[] = {
    [OP_START] = {"start", 300},           [OP_STOP] = {"stop", 300},
    [OP_MONITOR] = {"monitor", 20},        [OP_PROBE] = {"monitor", 20},
    [OP_MIGRATE_TO] = {"migrate_to", 600}, [OP_MIGRATE_FROM] = {"migrate_from", 60},
};

// One operation: the resource agent's process.
struct SimRa {
    unsigned references;
    SimNode *node;
    OpKind kind;
    const char *op;
    SimNode *peer;
    gint64 down_since_us; // vmferryd, since the operation began or it was lost
    gint64 deadline_us;
    bool asked; // vmferryd has it
    bool over;
    bool ends_qemu;
};

static struct {
    bool woken;
    const SimNode *fencer[SIM_NODES]; // of the node with that index, which is being fenced
} engine;
static GQueue asked = G_QUEUE_INIT; // SimRa that vmferryd has

static void ra_unref(gpointer data)
{
    SimRa *ra = data;
    if (--ra->references == 0)
        g_free(ra);
}

static SimRa *ra_ref(SimRa *ra)
{
    ra->references++;
    return ra;
}

// --- results ---

static void moved(SimNode *node, int ocf, SimNode *peer)
{
    if (ocf != OCF_SUCCESS) {
        node->lrm.move_failed = true;
        node->lrm.moved_to = peer->index;
        return;
    }
    node->lrm.moved_to = peer->index;
}

static void monitored(SimLrm *lrm, OpKind kind, int ocf)
{
    if (kind == OP_PROBE) {
        lrm->probed = true;
        lrm->active = ocf != OCF_NOT_RUNNING;
        lrm->failed = ocf != OCF_SUCCESS && ocf != OCF_NOT_RUNNING;
    } else if (ocf != OCF_SUCCESS && lrm->active) {
        lrm->failed = true;
    }
}

static void stopped(SimNode *node, int ocf)
{
    SimLrm *lrm = &node->lrm;
    if (ocf != OCF_SUCCESS) {
        lrm->stop_failed = true;
        return;
    }
    lrm->active = lrm->failed = lrm->move_failed = lrm->arrived = false;
    lrm->moved_to = -1;
    if (sim_node_quorate(node)) // else the others do not learn it
        lrm->target = NULL;
}

static void over(SimRa *ra, int ocf, const char *message)
{
    SimLrm *lrm = &ra->node->lrm;
    if (ra->over)
        return;
    ra->over = true;
    SIM_TRACE("%s: %s is over: %d %s", ra->node->name, ra->op, ocf, message);
    if (ra->kind == OP_FORCED)
        return;
    if (lrm->op == ra)
        lrm->op = NULL;
    switch (ra->kind) {
    case OP_START:
        lrm->active = true;
        lrm->failed = lrm->banned = ocf != OCF_SUCCESS;
        break;
    case OP_STOP:
        stopped(ra->node, ocf);
        break;
    case OP_MIGRATE_TO:
        moved(ra->node, ocf, ra->peer);
        break;
    case OP_MIGRATE_FROM:
        lrm->active = lrm->arrived = true;
        lrm->failed = ocf != OCF_SUCCESS;
        break;
    default:
        monitored(lrm, ra->kind, ocf);
        break;
    }
    sim_pacemaker_wake();
}

// --- the resource agent ---

static void ask(gpointer data);

static void replied(int ocf, const char *message, gpointer data)
{
    SimRa *ra = data;
    ra->asked = false;
    bool held = g_queue_remove(&asked, ra);
    over(ra, ocf, message);
    if (held)
        ra_unref(ra);
}

static void ended(gpointer data)
{
    SimRa *ra = data;
    if (ra->over)
        return;
    if (!sim_qemu_lives(ra->node->qemu))
        over(ra, OCF_SUCCESS, "ended by the resource agent");
    else
        sim_after(&ra->node->os, 100 * SIM_MS, ended, ra_ref(ra), ra_unref);
}

// resource-agents/stop.c: end_process.
static void end_process(SimRa *ra)
{
    ra->ends_qemu = true;
    if (sim_qemu_lives(ra->node->qemu))
        sim_qemu_kill(ra->node->qemu);
    sim_after(&ra->node->os, 10 * SIM_MS, ended, ra_ref(ra), ra_unref);
}

// resource-agents/monitor.c: look.
static void look(SimRa *ra)
{
    const SimQemu *qemu = ra->node->qemu;
    if (!sim_qemu_lives(qemu) || qemu->run_state == HV_RUN_INMIGRATE)
        over(ra, OCF_NOT_RUNNING, "looked at the process");
    else if (qemu->run_state == HV_RUN_PRELAUNCH || qemu->run_state == HV_RUN_SHUTDOWN)
        over(ra, OCF_ERR_GENERIC, "looked at the process");
    else
        over(ra, OCF_SUCCESS, "looked at the process");
}

static void ask_vmferryd(SimRa *ra)
{
    const AgentRaRequest request = {
        .op = ra->op,
        .vm = SIM_VM,
        .definition = "{}",
        .peer = ra->peer != NULL ? ra->peer->name : NULL,
        .timeout_ms = ops[ra->kind == OP_FORCED ? OP_STOP : ra->kind].timeout_s * 1000,
        .probe = ra->kind == OP_PROBE,
    };
    SimNode *before = world.here;
    world.here = ra->node;
    ra->asked = true;
    g_queue_push_tail(&asked, ra_ref(ra));
    agent_service_ra(ra->node->agent, &request, replied, ra);
    world.here = before;
}

static void ask_frozen(gpointer data)
{
    SimRa *ra = data;
    if (!ra->over && !ra->asked && ra->node->agent != NULL && ra->node->agent->ready)
        ask_vmferryd(ra);
}

static void ask(gpointer data)
{
    SimRa *ra = data;
    SimNode *node = ra->node;
    bool monitors = ra->kind == OP_MONITOR || ra->kind == OP_PROBE;
    bool stops = strcmp(ra->op, "stop") == 0;
    if (ra->over || ra->asked || ra->ends_qemu)
        return;
    if (node->agent != NULL && node->agent->ready && !node->dying) {
        if (node->agent_process.frozen) // the connection is made, the answer comes when it goes on
            sim_after(&node->agent_process, 0, ask_frozen, ra_ref(ra), ra_unref);
        else
            ask_vmferryd(ra);
    } else if (monitors) {
        look(ra);
    } else if (stops && world.now_us - ra->down_since_us > STOP_AGENT_WAIT_MS * SIM_MS) {
        end_process(ra);
    } else {
        sim_quietly_after(&node->os, AGAIN_US, ask, ra_ref(ra), ra_unref);
    }
}

static void gives_up(gpointer data)
{
    SimRa *ra = data;
    if (!ra->over && !ra->ends_qemu && strcmp(ra->op, "stop") == 0)
        end_process(ra);
}

static void times_out(gpointer data)
{
    over(data, OCF_ERR_GENERIC, "Timed Out");
}

static SimRa *run_op(SimNode *node, OpKind kind, const char *name, SimNode *peer)
{
    SimRa *ra = g_new0(SimRa, 1);
    gint64 timeout_us = (gint64)(name != NULL ? 300 : ops[kind].timeout_s) * SIM_S;
    *ra = (SimRa){.references = 1,
                  .node = node,
                  .kind = kind,
                  .op = name != NULL ? name : ops[kind].name,
                  .peer = peer,
                  .down_since_us = world.now_us,
                  .deadline_us = world.now_us + timeout_us};
    if (kind != OP_MONITOR)
        SIM_TRACE("%s: Pacemaker asks for %s%s%s", node->name, ra->op, peer != NULL ? " with " : "",
                  peer != NULL ? peer->name : "");
    if (kind != OP_FORCED)
        node->lrm.op = ra;
    if (kind == OP_MIGRATE_TO)
        node->lrm.target = peer;
    sim_quietly_after(&node->os, timeout_us, times_out, ra_ref(ra), ra_unref);
    sim_quietly_after(&node->os, timeout_us - 30 * SIM_S, gives_up, ra_ref(ra), ra_unref);
    sim_after(&node->os, kind == OP_MONITOR ? 0 : sim_around(20 * SIM_MS), ask, ra, ra_unref);
    return ra;
}

void sim_pacemaker_force(SimNode *node, const char *op)
{
    SimRa *ra = ra_ref(run_op(node, OP_FORCED, op, NULL));
    ask(ra);
    ra_unref(ra);
}

void sim_pacemaker_agent_gone(SimNode *node)
{
    for (GList *item = asked.head, *next; item != NULL; item = next) {
        SimRa *ra = item->data;
        next = item->next;
        if (ra->node != node)
            continue;
        ra->asked = false;
        ra->down_since_us = world.now_us;
        g_queue_delete_link(&asked, item);
        sim_after(&node->os, AGAIN_US, ask, ra, ra_unref);
    }
}

// A move from a node that is lost may have arrived: Pacemaker stops the VM at its target, too.
static void suspect_target(const SimNode *node)
{
    const SimLrm *lrm = &node->lrm;
    SimNode *target = lrm->target;
    if (target != NULL)
        target->lrm.active = target->lrm.failed = true;
}

void sim_pacemaker_node_gone(SimNode *node)
{
    suspect_target(node);
    sim_pacemaker_agent_gone(node);
    if (node->lrm.op != NULL)
        node->lrm.op->over = true;
    node->lrm.op = NULL;
}

// --- fencing ---

static void reboot(gpointer data)
{
    SimNode *node = data;
    if (!node->on)
        sim_node_boot(node);
}

static void fenced(gpointer data)
{
    SimNode *node = data;
    if (!engine.fencer[node->index]->on) { // it was faster
        engine.fencer[node->index] = NULL;
        sim_pacemaker_wake();
        return;
    }
    if (world.fencing_failures > 0) {
        world.fencing_failures--;
        SIM_TRACE("fencing of %s fails", node->name);
        sim_after(NULL, 3 * SIM_S, fenced, node, NULL);
        return;
    }
    engine.fencer[node->index] = NULL;
    SIM_TRACE("%s is fenced", node->name);
    world.fences++;
    sim_node_power_off(node, ORACLE_BY_FENCING);
    node->clean = true;
    node->lrm = (SimLrm){.moved_to = -1, .standby = node->lrm.standby};
    sim_after(NULL, sim_between(REBOOT_US / 2, 2 * REBOOT_US), reboot, node, NULL);
    sim_pacemaker_wake();
}

static void fence(const SimNode *fencer, SimNode *node, const char *why)
{
    if (engine.fencer[node->index] != NULL)
        return;
    engine.fencer[node->index] = fencer;
    SIM_TRACE("%s is going to be fenced: %s", node->name, why);
    sim_after(NULL, sim_between(FENCE_US / 4, 4 * FENCE_US), fenced, node, NULL);
}

// --- the policy engine ---

typedef struct {
    SimNode *member[SIM_NODES];
    unsigned n;
    bool quorate;
} View;

static View view_of(const SimNode *dc)
{
    View view = {.quorate = sim_node_quorate(dc)};
    for (unsigned i = 0; i < world.nodes; i++)
        if (dc->view & (1U << i))
            view.member[view.n++] = &world.node[i];
    return view;
}

static bool is_member(const View *view, const SimNode *node)
{
    for (unsigned i = 0; i < view->n; i++)
        if (view->member[i] == node)
            return true;
    return false;
}

static bool fence_the_lost(View *view)
{
    bool lost = false;
    for (unsigned i = 0; i < world.nodes; i++) {
        SimNode *node = &world.node[i];
        bool member = is_member(view, node);
        if (!member && !node->clean)
            fence(view->member[0], node, "it was lost");
        else if (member && node->lrm.stop_failed)
            fence(view->member[0], node, "its stop failed");
        lost |= engine.fencer[i] != NULL;
    }
    return lost;
}

// A source that had no quorum any more has stopped, and what it was moving may have arrived: Pacemaker takes
// a stop after a migrate_to for the end of the move, so that the VM is active at the target.
static void learn_of_moves(const View *view)
{
    for (unsigned i = 0; i < view->n; i++) {
        SimLrm *lrm = &view->member[i]->lrm;
        if (lrm->active || lrm->target == NULL || lrm->op != NULL)
            continue;
        if (is_member(view, lrm->target) && !lrm->target->lrm.active)
            suspect_target(view->member[i]);
        lrm->target = NULL;
    }
}

static bool busy(const View *view)
{
    for (unsigned i = 0; i < view->n; i++)
        if (view->member[i]->lrm.op != NULL)
            return true;
    return false;
}

static bool probe(const View *view)
{
    bool probed = false;
    for (unsigned i = 0; i < view->n; i++)
        if (!view->member[i]->lrm.probed) {
            run_op(view->member[i], OP_PROBE, NULL, NULL);
            probed = true;
        }
    return probed;
}

static void stop_without_quorum(const View *view)
{
    for (unsigned i = 0; i < view->n; i++)
        if (view->member[i]->lrm.active && view->member[i]->lrm.op == NULL)
            run_op(view->member[i], OP_STOP, NULL, NULL);
}

// A migrate_to is behind us: what is left of that move. True: something is asked for.
static bool finish_move(const View *view, SimNode *from)
{
    SimNode *to = &world.node[from->lrm.moved_to];
    bool reachable = is_member(view, to);
    if (from->lrm.move_failed) { // both sides may have it
        if (reachable && to->lrm.op == NULL)
            run_op(to, OP_STOP, NULL, NULL);
        run_op(from, OP_STOP, NULL, NULL);
    } else if (reachable && !to->lrm.arrived) {
        run_op(to, OP_MIGRATE_FROM, NULL, from);
    } else {
        run_op(from, OP_STOP, NULL, NULL);
    }
    return true;
}

static bool recover(const View *view)
{
    bool asks = false;
    unsigned active = 0;
    for (unsigned i = 0; i < view->n; i++) {
        const SimLrm *lrm = &view->member[i]->lrm;
        if (lrm->active && lrm->moved_to >= 0)
            return finish_move(view, view->member[i]);
        active += lrm->active;
    }
    for (unsigned i = 0; i < view->n; i++) {
        SimNode *node = view->member[i];
        SimLrm *lrm = &node->lrm;
        if (lrm->active && (lrm->failed || active > 1)) {
            run_op(node, OP_STOP, NULL, NULL);
            asks = true;
        }
    }
    return asks;
}

static bool may_run_on(const View *view, SimNode *node)
{
    return is_member(view, node) && !node->lrm.standby && !node->lrm.banned && node->agent_known;
}

static SimNode *best_node(const View *view, SimNode *now)
{
    SimNode *able[SIM_NODES];
    unsigned n = 0;
    if (world.prefer >= 0 && may_run_on(view, &world.node[world.prefer]))
        return &world.node[world.prefer];
    if (now != NULL && may_run_on(view, now))
        return now; // resource-stickiness
    for (unsigned i = 0; i < view->n; i++)
        if (may_run_on(view, view->member[i]))
            able[n++] = view->member[i];
    return n > 0 ? able[sim_below(n)] : NULL;
}

static void place(const View *view)
{
    SimNode *now = NULL;
    for (unsigned i = 0; i < view->n; i++)
        if (view->member[i]->lrm.active)
            now = view->member[i];
    SimNode *best = best_node(view, now);
    if (now != NULL && !world.role_started)
        run_op(now, OP_STOP, NULL, NULL);
    else if (now == NULL && world.role_started && best != NULL)
        run_op(best, OP_START, NULL, NULL);
    else if (now != NULL && best != NULL && best != now)
        run_op(now, OP_MIGRATE_TO, NULL, best);
    else if (now != NULL && now->lrm.standby && best == NULL)
        run_op(now, OP_STOP, NULL, NULL);
}

static void think_as(const SimNode *dc)
{
    View view = view_of(dc);
    for (unsigned i = 0; i < view.n; i++)
        if (!view.member[i]->on) // not noticed yet
            return;
    if (!view.quorate) {
        stop_without_quorum(&view);
        return;
    }
    learn_of_moves(&view);
    if (!fence_the_lost(&view) && !busy(&view) && !probe(&view) && !recover(&view))
        place(&view);
}

static void think(gpointer data)
{
    (void)data;
    unsigned done = 0;
    engine.woken = false;
    for (unsigned i = 0; i < world.nodes; i++) {
        SimNode *node = &world.node[i];
        if (!node->on || (done & (1U << i)) != 0)
            continue;
        done |= node->view;
        think_as(node);
    }
}

void sim_pacemaker_wake(void)
{
    if (engine.woken)
        return;
    engine.woken = true;
    sim_after(NULL, sim_between(THINK_US / 2, 2 * THINK_US), think, NULL, NULL);
}

static void every_10_s(gpointer data)
{
    for (unsigned i = 0; i < world.nodes; i++) {
        SimNode *node = &world.node[i];
        if (node->on && node->lrm.active && node->lrm.op == NULL && node->lrm.moved_to < 0)
            run_op(node, OP_MONITOR, NULL, NULL);
    }
    sim_quietly_after(NULL, MONITOR_US, every_10_s, data, NULL);
}

bool sim_pacemaker_is_idle(void)
{
    if (engine.woken)
        return false;
    for (unsigned i = 0; i < world.nodes; i++)
        if (world.node[i].lrm.op != NULL || engine.fencer[i] != NULL || !world.node[i].on)
            return false;
    return true;
}

const char *sim_pacemaker_doing(void)
{
    for (unsigned i = 0; i < world.nodes; i++)
        if (world.node[i].lrm.op != NULL && world.node[i].lrm.op->kind != OP_MONITOR)
            return world.node[i].lrm.op->op;
    return "idle";
}

void sim_pacemaker_reset(void)
{
    memset(&engine, 0, sizeof engine);
    g_queue_clear_full(&asked, ra_unref);
    sim_quietly_after(NULL, MONITOR_US, every_10_s, NULL, NULL);
    sim_pacemaker_wake();
}

// --- what vmferryd asks Pacemaker for ---

struct AgentPacemaker {
    SimNode *node;
};

typedef struct {
    AgentPacemakerDone done;
    gpointer data;
    int prefer, owner; // prefer -2: nothing
} Change;

static void set_preference(int node, int owner)
{
    world.prefer = node;
    world.prefer_owner = owner;
}

static void changed(gpointer data)
{
    Change *change = data;
    g_autoptr(GError) error = NULL;
    SimNode *node = world.here;
    if (!sim_node_quorate(node))
        error = g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE, "no quorum");
    else
        set_preference(change->prefer, change->owner);
    sim_pacemaker_wake();
    change->done(error, change->data);
}

static void change(int prefer, int owner, AgentPacemakerDone done, gpointer data)
{
    Change *made = g_new(Change, 1);
    *made = (Change){.done = done, .data = data, .prefer = prefer, .owner = owner};
    sim_after(&world.here->agent_process, sim_around(10 * SIM_MS), changed, made, g_free);
}

void agent_pacemaker_prefer(AgentPacemaker *pacemaker, const char *name, const char *node,
                            const char *owner, unsigned lifetime_s, AgentPacemakerDone done,
                            gpointer data)
{
    (void)pacemaker;
    (void)name;
    (void)lifetime_s;
    change(sim_node_named(node)->index, sim_node_named(owner)->index, done, data);
}

void agent_pacemaker_unprefer(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                              gpointer data)
{
    (void)pacemaker;
    (void)name;
    change(-1, -1, done, data);
}

json_t *agent_pacemaker_preferences(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    if (world.prefer < 0)
        return json_array();
    return json_pack("[{s:s, s:s, s:s}]", "name", SIM_VM, "node", world.node[world.prefer].name,
                     "owner", world.node[world.prefer_owner].name);
}

json_t *agent_pacemaker_resources(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    return json_pack("[{s:s, s:s, s:s}]", "name", SIM_VM, "definition", "{}", "target_role",
                     world.role_started ? "Started" : "Stopped");
}

json_t *agent_pacemaker_nodes(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    json_t *nodes = json_array();
    for (unsigned i = 0; i < world.nodes; i++)
        json_array_append_new(nodes, json_pack("{s:s, s:b, s:b}", "name", world.node[i].name,
                                               "online", (world.here->view & (1U << i)) != 0,
                                               "standby", (int)world.node[i].lrm.standby));
    return nodes;
}

const char *agent_pacemaker_definition(const AgentPacemaker *pacemaker, const char *name)
{
    (void)pacemaker;
    (void)name;
    return "{}";
}

void agent_pacemaker_fail(AgentPacemaker *pacemaker, const char *name, const char *node,
                          AgentPacemakerDone done, gpointer data)
{
    (void)pacemaker;
    (void)name;
    (void)done;
    (void)data;
    SimLrm *lrm = &sim_node_named(node)->lrm;
    lrm->failed |= lrm->active;
    sim_pacemaker_wake();
}

bool agent_pacemaker_connected(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    return true;
}

bool agent_pacemaker_joined(const AgentPacemaker *pacemaker, const char *node)
{
    (void)pacemaker;
    (void)node;
    return true;
}

uint64_t agent_pacemaker_epoch(const AgentPacemaker *pacemaker, const char *name)
{
    (void)pacemaker;
    (void)name;
    return world.witnessed_epoch;
}

typedef struct {
    uint64_t epoch;
    AgentPacemakerDone done;
    gpointer data;
} Witness;

static void witnessed(gpointer data)
{
    const Witness *witness = data;
    world.witnessed_epoch = witness->epoch;
    witness->done(NULL, witness->data);
}

void agent_pacemaker_set_epoch(AgentPacemaker *pacemaker, const char *name, uint64_t epoch,
                               AgentPacemakerDone done, gpointer data)
{
    (void)pacemaker;
    (void)name;
    Witness *made = g_new(Witness, 1);
    *made = (Witness){.epoch = epoch, .done = done, .data = data};
    sim_after(&world.here->agent_process, sim_around(10 * SIM_MS), witnessed, made, g_free);
}
