// SPDX-License-Identifier: GPL-2.0-or-later
// Corosync, in the place of agent/cluster.h. Messages and changes of membership come in one order
// for all who stay together; nothing is lost between live members; what a lost node has sent last
// comes to all survivors or to none. While a membership forms, nothing is delivered. Quorum is told
// beside that order, as libquorum does.
#include "agent/messages.h"
#include "tests/sim/fault.h"
#include "tests/sim/node.h"

#include <string.h>

struct AgentCluster {
    SimNode *node;
    unsigned members; // nodes whose agents are in the group, as this agent has been told
    bool quorate;
};

static unsigned joined;                    // agents in the group
static gint64 forming_until_us[SIM_NODES]; // of a component

// --- delivery ---

typedef enum { MAIL_MESSAGE, MAIL_JOINED, MAIL_LEFT_PROCESS, MAIL_LEFT_NODE } MailKind;

typedef struct {
    SimNode *from, *to;
    MailKind kind;
    json_t *message;
} Mail;

static void mail_free(gpointer data)
{
    Mail *mail = data;
    json_decref(mail->message);
    g_free(mail);
}

static void deliver(gpointer data)
{
    const Mail *mail = data;
    AgentCluster *cluster = mail->to->cluster;
    const AgentClusterEvents *events = &agent_messages_cluster_events;
    const char *from = mail->from->name;
    unsigned bit = 1U << mail->from->index;
    if (cluster == NULL)
        return;
    if (mail->kind == MAIL_MESSAGE) {
        events->message(from, mail->message, mail->to->agent);
    } else if (mail->kind == MAIL_JOINED) {
        cluster->members |= bit;
        events->joined(from, mail->to->agent);
    } else if (cluster->members & bit) {
        cluster->members &= ~bit;
        SIM_TRACE("%s: sees %s leave (%s)", mail->to->name, from,
                  mail->kind == MAIL_LEFT_NODE ? "node" : "process");
        events->left(from, mail->kind == MAIL_LEFT_NODE ? AGENT_LEFT_NODE : AGENT_LEFT_PROCESS,
                     mail->to->agent);
    }
}

static void post(SimNode *from, SimNode *to, MailKind kind, json_t *message)
{
    Mail *mail = g_new(Mail, 1);
    *mail = (Mail){.from = from, .to = to, .kind = kind, .message = json_incref(message)};
    gint64 us = to->slow_until_us > world.now_us ? 500 * SIM_MS : 200;
    sim_after(&to->agent_process, sim_in_order(&to->inbox_us, us), deliver, mail, mail_free);
}

static bool in_group(const SimNode *node)
{
    return (joined & (1U << node->index)) != 0;
}

static void post_to_all(SimNode *from, MailKind kind, json_t *message)
{
    for (unsigned i = 0; i < world.nodes; i++) {
        SimNode *to = &world.node[i];
        if (to->on && in_group(to) && to->cluster != NULL && to->component == from->component)
            post(from, to, kind, message);
    }
}

static GQueue waiting = G_QUEUE_INIT; // Mail: for a membership

static bool is_forming(int component)
{
    return forming_until_us[component] > world.now_us;
}

// The moment at which a message gets its place in the order.
static void order(gpointer data)
{
    Mail *mail = data;
    if (!mail->from->on && sim_chance(500))
        return;
    if (!is_forming(mail->from->component)) {
        post_to_all(mail->from, mail->kind, mail->message);
        return;
    }
    Mail *held = g_memdup2(mail, sizeof *mail);
    json_incref(held->message);
    g_queue_push_tail(&waiting, held);
}

static void order_waiting(void)
{
    for (GList *item = waiting.head, *next; item != NULL; item = next) {
        Mail *mail = item->data;
        next = item->next;
        if (is_forming(mail->from->component))
            continue;
        post_to_all(mail->from, mail->kind, mail->message);
        mail_free(mail);
        g_queue_delete_link(&waiting, item);
    }
}

static void send(SimNode *from, MailKind kind, json_t *message)
{
    Mail *mail = g_new(Mail, 1);
    *mail = (Mail){.from = from, .kind = kind, .message = message};
    sim_after(NULL, sim_in_order(&from->outbox_us, 200), order, mail, mail_free);
}

bool agent_cluster_send(AgentCluster *cluster, json_t *message, GError **error)
{
    (void)error;
    if (world.tracing && strcmp(json_string_value(json_object_get(message, "t")), "move") == 0)
        sim_trace("%s: sends %s to %s", cluster->node->name,
                  json_string_value(json_object_get(message, "type")),
                  json_string_value(json_object_get(message, "to")));
    send(cluster->node, MAIL_MESSAGE, message);
    return true;
}

// --- getters ---

bool agent_cluster_connected(const AgentCluster *cluster)
{
    return cluster != NULL;
}

bool agent_cluster_quorate(const AgentCluster *cluster)
{
    return cluster->quorate;
}

bool agent_cluster_has(const AgentCluster *cluster, const char *node)
{
    return *node != '\0' && (cluster->members & (1U << sim_node_named(node)->index)) != 0;
}

char **agent_cluster_members(const AgentCluster *cluster)
{
    const char *names[SIM_NODES + 1] = {NULL};
    unsigned n = 0;
    for (unsigned i = 0; i < world.nodes; i++)
        if (cluster->members & (1U << i))
            names[n++] = world.node[i].name;
    return g_strdupv((char **)names);
}

// --- agents come and go ---

void sim_cpg_join(SimNode *node)
{
    joined |= 1U << node->index;
    node->cluster = g_new0(AgentCluster, 1);
    *node->cluster = (AgentCluster){.node = node, .quorate = sim_node_quorate(node)};
    for (unsigned i = 0; i < world.nodes; i++)
        if (in_group(&world.node[i]) && world.node[i].on &&
            world.node[i].component == node->component)
            node->cluster->members |= 1U << i;
    send(node, MAIL_JOINED, NULL);
}

void sim_cpg_leave(SimNode *node)
{
    if (!in_group(node))
        return;
    joined &= ~(1U << node->index);
    send(node, MAIL_LEFT_PROCESS, NULL);
}

void sim_cpg_node_lost(SimNode *node)
{
    joined &= ~(1U << node->index); // the others learn it with the next membership
}

// --- membership of nodes ---

typedef struct {
    SimNode *node;
    bool quorate;
} Quorum;

static void force_start(gpointer data)
{
    SimNode *node = data;
    if (node->cluster != NULL && !node->cluster->quorate && !node->agent_process.frozen &&
        sim_fault_now(FAULT_FORCE_START))
        sim_pacemaker_force(node, "start");
}

static void quorum_told(gpointer data)
{
    Quorum *quorum = data;
    AgentCluster *cluster = quorum->node->cluster;
    if (cluster == NULL || cluster->quorate == quorum->quorate)
        return;
    cluster->quorate = quorum->quorate;
    SIM_TRACE("%s: %s", quorum->node->name, quorum->quorate ? "has quorum" : "has no quorum");
    if (!quorum->quorate)
        sim_after(&quorum->node->os, 2 * SIM_S + sim_below(30 * SIM_S), force_start, quorum->node,
                  NULL);
    agent_messages_cluster_events.quorum(quorum->quorate, quorum->node->agent);
}

static void tell_quorum(SimNode *node)
{
    Quorum *quorum = g_new(Quorum, 1);
    *quorum = (Quorum){.node = node, .quorate = sim_node_quorate(node)};
    sim_after(&node->agent_process, sim_around(300), quorum_told, quorum, g_free);
}

static void tell_views(SimNode *node, unsigned now)
{
    for (unsigned i = 0; i < world.nodes; i++) {
        SimNode *other = &world.node[i];
        unsigned bit = 1U << i;
        if ((node->view & bit) != 0 && (now & bit) == 0)
            post(other, node, MAIL_LEFT_NODE, NULL);
        else if ((node->view & bit) == 0 && (now & bit) != 0 && in_group(other))
            post(other, node, MAIL_JOINED, NULL);
    }
}

static void formed(gpointer data)
{
    int component = GPOINTER_TO_INT(data);
    unsigned members = 0;
    if (is_forming(component))
        return; // it changed once more
    for (unsigned i = 0; i < world.nodes; i++)
        if (world.node[i].on && world.node[i].component == component)
            members |= 1U << i;
    for (unsigned i = 0; i < world.nodes; i++) {
        SimNode *node = &world.node[i];
        if ((members & (1U << i)) == 0)
            continue;
        if (node->cluster != NULL)
            tell_views(node, members);
        node->view = members;
        node->seen_all |= members == (1U << world.nodes) - 1;
    }
    order_waiting();
    for (unsigned i = 0; i < world.nodes; i++)
        if (members & (1U << i))
            tell_quorum(&world.node[i]);
    sim_pacemaker_wake();
}

void sim_cpg_form(int component, gint64 us)
{
    forming_until_us[component] = world.now_us + us;
    sim_after(NULL, us, formed, GINT_TO_POINTER(component), NULL);
}

bool sim_node_quorate(const SimNode *node)
{
    unsigned n = (unsigned)__builtin_popcount(node->view);
    if (world.nodes > 2)
        return n * 2 > world.nodes;
    if (world.two_node)
        return node->seen_all;
    return n == 2 || node->index == 0; // a quorum device gives its vote to the lowest
}

void sim_cpg_reset(void)
{
    joined = 0;
    g_queue_clear_full(&waiting, mail_free);
    memset(forming_until_us, 0, sizeof forming_until_us);
}
