// SPDX-License-Identifier: GPL-2.0-or-later
// Runs agent/pacemaker.c and agent/cluster.c against a real cluster, by hand or from a script:
//   pacemaker_probe show | watch SECONDS | members SECONDS [MESSAGE-BYTES COUNT]
//   pacemaker_probe create NAME DEFINITION | define NAME DEFINITION | delete NAME
//   pacemaker_probe start NAME | stop NAME | standby NODE on|off
//   pacemaker_probe prefer NAME NODE OWNER SECONDS | unprefer NAME
//   pacemaker_probe fail NAME NODE | cleanup NAME
// Exit code 0, or 1 with the reason on stderr.
#include "agent/cluster.h"
#include "agent/pacemaker.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_S 30

typedef struct {
    GMainLoop *loop;
    AgentPacemaker *pacemaker;
    AgentCluster *cluster;
    int argc;
    char **argv;
    bool started;
    gint64 since;
    int status;
    unsigned received, to_send;
    size_t size;
} Probe;

static void print(const char *title, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);

    printf("%s %s\n", title, text);
    fflush(stdout);
    free(text);
    json_decref(value);
}

static void show(const Probe *probe)
{
    print("cluster", agent_pacemaker_cluster(probe->pacemaker));
    print("nodes", agent_pacemaker_nodes(probe->pacemaker));
    print("resources", agent_pacemaker_resources(probe->pacemaker));
    print("preferences", agent_pacemaker_preferences(probe->pacemaker));
}

static void on_done(const GError *error, gpointer data)
{
    Probe *probe = data;

    if (error)
        fprintf(stderr, "error %d: %s\n", error->code, error->message);
    else
        printf("done after %" G_GINT64_FORMAT " ms\n",
               (g_get_monotonic_time() - probe->since) / 1000);
    probe->status = error ? 1 : 0;
    g_main_loop_quit(probe->loop);
}

static gboolean on_time(gpointer data)
{
    Probe *probe = data;

    g_main_loop_quit(probe->loop);
    return G_SOURCE_REMOVE;
}

static const char *arg(const Probe *probe, int index)
{
    if (index >= probe->argc) {
        fprintf(stderr, "%s: too few arguments\n", probe->argv[1]);
        exit(1);
    }
    return probe->argv[index];
}

static bool command(const Probe *probe, const char *name)
{
    return strcmp(probe->argv[1], name) == 0;
}

static void run(Probe *probe)
{
    AgentPacemaker *pacemaker = probe->pacemaker;

    probe->since = g_get_monotonic_time();
    if (command(probe, "show")) {
        show(probe);
        probe->status = 0;
        g_main_loop_quit(probe->loop);
    } else if (command(probe, "create"))
        agent_pacemaker_create(pacemaker, arg(probe, 2), arg(probe, 3), true, true, on_done, probe);
    else if (command(probe, "define"))
        agent_pacemaker_set_definition(pacemaker, arg(probe, 2), arg(probe, 3), on_done, probe);
    else if (command(probe, "delete"))
        agent_pacemaker_delete(pacemaker, arg(probe, 2), on_done, probe);
    else if (command(probe, "start") || command(probe, "stop"))
        agent_pacemaker_set_role(pacemaker, arg(probe, 2), command(probe, "start"), on_done, probe);
    else if (command(probe, "standby"))
        agent_pacemaker_set_standby(pacemaker, arg(probe, 2), strcmp(arg(probe, 3), "on") == 0,
                                    on_done, probe);
    else if (command(probe, "prefer"))
        agent_pacemaker_prefer(pacemaker, arg(probe, 2), arg(probe, 3), arg(probe, 4),
                               (unsigned)atoi(arg(probe, 5)), on_done, probe);
    else if (command(probe, "unprefer"))
        agent_pacemaker_unprefer(pacemaker, arg(probe, 2), on_done, probe);
    else if (command(probe, "fail"))
        agent_pacemaker_fail(pacemaker, arg(probe, 2), arg(probe, 3), on_done, probe);
    else if (command(probe, "cleanup"))
        agent_pacemaker_cleanup(pacemaker, arg(probe, 2), on_done, probe);
}

static void on_changed(gpointer data)
{
    Probe *probe = data;

    if (command(probe, "watch")) {
        printf("connected %d\n", agent_pacemaker_connected(probe->pacemaker));
        show(probe);
    } else if (!probe->started && agent_pacemaker_connected(probe->pacemaker)) {
        probe->started = true;
        run(probe);
    }
}

static void on_message(const char *from, json_t *message, gpointer data)
{
    Probe *probe = data;
    const char *text = json_string_value(json_object_get(message, "padding"));

    probe->received++;
    printf("message from %s: n %" JSON_INTEGER_FORMAT ", %zu bytes\n", from,
           json_integer_value(json_object_get(message, "n")), text ? strlen(text) : 0);
}

static void send_all(Probe *probe)
{
    g_autofree char *padding = g_strnfill(probe->size, 'x');
    g_autoptr(GError) error = NULL;

    for (unsigned i = 0; i < probe->to_send; i++)
        if (!agent_cluster_send(probe->cluster,
                                json_pack("{s:i, s:s}", "n", (int)i, "padding", padding), &error)) {
            fprintf(stderr, "send: %s\n", error->message);
            g_clear_error(&error);
        }
}

static void on_joined(const char *node, gpointer data)
{
    Probe *probe = data;

    printf("joined %s\n", node);
    if (g_strcmp0(node, agent_cluster_local_node(probe->cluster)) == 0)
        send_all(probe);
}

static void on_left(const char *node, AgentLeftReason reason, gpointer data)
{
    (void)data;
    printf("left %s: %s\n", node, reason == AGENT_LEFT_NODE ? "node" : "process");
}

static void on_quorum(bool quorate, gpointer data)
{
    (void)data;
    printf("quorum %d\n", quorate);
}

static void on_cluster_lost(gpointer data)
{
    (void)data;
    printf("lost\n");
}

static void on_cluster_connected(gpointer data)
{
    (void)data;
    printf("connected\n");
}

static int members(Probe *probe)
{
    const AgentClusterEvents events = {
        .message = on_message,
        .joined = on_joined,
        .left = on_left,
        .quorum = on_quorum,
        .lost = on_cluster_lost,
        .connected = on_cluster_connected,
    };

    if (probe->argc > 4) {
        probe->size = (size_t)atoi(arg(probe, 3));
        probe->to_send = (unsigned)atoi(arg(probe, 4));
    }
    setlinebuf(stdout);
    probe->cluster = agent_cluster_new(&events, probe);
    g_timeout_add_seconds((guint)atoi(arg(probe, 2)), on_time, probe);
    g_main_loop_run(probe->loop);
    print("nodes", agent_cluster_nodes(probe->cluster));
    printf("received %u\n", probe->received);
    agent_cluster_free(probe->cluster);
    g_main_loop_unref(probe->loop);
    return 0;
}

int main(int argc, char **argv)
{
    Probe probe = {.argc = argc, .argv = argv, .status = 1};
    const AgentPacemakerEvents events = {.changed = on_changed};

    if (argc < 2) {
        fprintf(stderr, "usage: %s COMMAND [ARGUMENT...] (see the head of its source)\n", argv[0]);
        return 1;
    }
    probe.loop = g_main_loop_new(NULL, FALSE);
    if (command(&probe, "members"))
        return members(&probe);
    probe.pacemaker = agent_pacemaker_new(&events, &probe);
    g_timeout_add_seconds(command(&probe, "watch") ? (guint)atoi(arg(&probe, 2)) : CONNECT_S,
                          on_time, &probe);
    g_main_loop_run(probe.loop);
    agent_pacemaker_free(probe.pacemaker);
    g_main_loop_unref(probe.loop);
    return probe.status;
}
