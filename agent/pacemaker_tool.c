// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/pacemaker_tool.h"
#include <glib-unix.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMPLAINT_MAX 1024

struct PacemakerTool {
    PacemakerToolDone done;
    gpointer data;
    GPid pid;
    int errors; // the read end of its stderr
    guint watch, timer;
    bool timed_out;
    char *name;
};

static void reap(GPid pid, gint status, gpointer data)
{
    (void)status;
    (void)data;
    g_spawn_close_pid(pid);
}

static void release(PacemakerTool *tool)
{
    if (tool->timer)
        g_source_remove(tool->timer);
    close(tool->errors);
    g_free(tool->name);
    g_free(tool);
}

void pacemaker_tool_free(PacemakerTool *tool)
{
    if (!tool)
        return;
    g_source_remove(tool->watch);
    kill(tool->pid, SIGKILL);
    g_child_watch_add(tool->pid, reap, NULL);
    release(tool);
}

static gboolean on_timeout(gpointer data)
{
    PacemakerTool *tool = data;

    tool->timer = 0;
    tool->timed_out = true;
    kill(tool->pid, SIGKILL);
    return G_SOURCE_REMOVE;
}

static void on_ended(GPid pid, gint wait_status, gpointer data)
{
    PacemakerTool *tool = data;
    char complaint[COMPLAINT_MAX + 1] = "";
    ssize_t length = read(tool->errors, complaint, COMPLAINT_MAX);
    int status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
    g_autoptr(GError) error = NULL;

    complaint[MAX(length, 0)] = '\0';
    g_spawn_close_pid(pid);
    if (tool->timed_out)
        g_set_error(&error, AGENT_ERROR, AGENT_ERROR_TIMEOUT, "%s did not end in time", tool->name);
    else if (status != 0)
        g_set_error(&error, AGENT_ERROR, AGENT_ERROR_FAILED, "%s: exit code %d: %s", tool->name,
                    status, g_strstrip(complaint));
    tool->done(status, error, tool->data);
    release(tool);
}

PacemakerTool *pacemaker_tool_run(const char *const *argv, guint timeout_s, PacemakerToolDone done,
                                  gpointer data, GError **error)
{
    g_autofree char *sbin = g_strconcat("/usr/sbin/", argv[0], NULL);
    g_autofree char *found = g_find_program_in_path(argv[0]);
    g_autoptr(GError) why = NULL;
    g_autoptr(GPtrArray) args = g_ptr_array_new();
    GPid pid;
    int errors;

    g_ptr_array_add(args, found ? found : sbin);
    for (size_t i = 1; argv[i]; i++)
        g_ptr_array_add(args, (char *)argv[i]);
    g_ptr_array_add(args, NULL);
    if (!g_spawn_async_with_pipes(NULL, (char **)args->pdata, NULL,
                                  G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
                                  NULL, &pid, NULL, NULL, &errors, &why)) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_FAILED, "cannot run %s: %s", argv[0],
                    why->message);
        return NULL;
    }
    // What it left in the pipe is read after its end, and that must not wait for its children.
    g_unix_set_fd_nonblocking(errors, TRUE, NULL);
    PacemakerTool *tool = g_new0(PacemakerTool, 1);
    tool->done = done;
    tool->data = data;
    tool->pid = pid;
    tool->errors = errors;
    tool->name = g_strdup(argv[0]);
    tool->watch = g_child_watch_add(pid, on_ended, tool);
    tool->timer = g_timeout_add_seconds(timeout_s, on_timeout, tool);
    return tool;
}
