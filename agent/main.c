// SPDX-License-Identifier: GPL-2.0-or-later
// vmferryd: wiring only.
#include "agent/agent.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>

static gboolean end_loop(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_CONTINUE;
}

static int run(AgentConfig *config)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Agent) agent = agent_new(config, &error);
    if (agent == NULL) {
        fprintf(stderr, "vmferryd: %s\n", error->message);
        return 1;
    }
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGTERM, end_loop, loop);
    g_unix_signal_add(SIGINT, end_loop, loop);
    g_main_loop_run(loop);
    sd_notify(0, "STOPPING=1");
    return 0;
}

int main(int argc, char **argv)
{
    g_autofree char *path = NULL;
    gboolean version = FALSE;
    GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &path,
         "configuration file (default /etc/vmferry/vmferryd.conf)", "FILE"},
        {"version", 0, 0, G_OPTION_ARG_NONE, &version, "print the version and exit", NULL},
        {0},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- vmferry's agent on a node");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "vmferryd: %s\n", error->message);
        return 2;
    }
    if (version) {
        printf("vmferryd %s\n", VMFERRY_VERSION);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); // secrets stay out of core dumps
    AgentConfig *config =
        agent_config_load(path != NULL ? path : "/etc/vmferry/vmferryd.conf", &error);
    if (config == NULL) {
        fprintf(stderr, "vmferryd: %s\n", error->message);
        return 1;
    }
    return run(config);
}
