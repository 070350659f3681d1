// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/child.h"

#include "migrate/program.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 64 * 1024, INPUT = 4096 };

struct FerryChild {
    int references; // the owner's, the watch's, and one while a callback runs
    char *name;
    FerryChildEvents events;
    gpointer data;
    int pidfd; // the process cannot be mistaken for another one
    guint source;
    int to, from; // its standard input and output
    GString *line;
    bool freed;
};

static void unref(FerryChild *child)
{
    if (--child->references > 0)
        return;
    close(child->pidfd);
    g_string_free(child->line, TRUE);
    g_free(child->name);
    g_free(child);
}

// --- what it says ---

static void tell_line(FerryChild *child, const char *line, size_t length)
{
    json_t *event = json_loadb(line, length, 0, NULL);
    const char *name = json_string_value(json_object_get(event, "event"));
    if (name == NULL)
        g_warning("%s said something that is not an event", child->name);
    else
        child->events.event(name, event, child->data);
    json_decref(event);
}

static void tell_lines(FerryChild *child)
{
    char *end;
    while (!child->freed && (end = memchr(child->line->str, '\n', child->line->len)) != NULL) {
        g_autofree char *line = g_strndup(child->line->str, (gsize)(end - child->line->str));
        g_string_erase(child->line, 0, end - child->line->str + 1);
        tell_line(child, line, strlen(line));
    }
}

// Reads what is there; false at the end.
static bool read_some(FerryChild *child)
{
    char input[INPUT];
    ssize_t n = read(child->from, input, sizeof(input));
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0 || child->line->len + (size_t)n > LINE_MAX_BYTES)
        return false;
    g_string_append_len(child->line, input, n);
    tell_lines(child);
    return true;
}

static gboolean on_output(gint fd, GIOCondition condition, gpointer data)
{
    FerryChild *child = data;
    (void)fd;
    (void)condition;
    child->references++;
    bool more = read_some(child);
    if (!more && !child->freed)
        child->source = 0;
    bool keep = more && !child->freed;
    unref(child);
    return keep;
}

static void drain(FerryChild *child)
{
    char input[INPUT];
    for (ssize_t n; (n = read(child->from, input, sizeof(input))) > 0;)
        if (child->line->len + (size_t)n <= LINE_MAX_BYTES)
            g_string_append_len(child->line, input, n);
    tell_lines(child);
}

// --- its end ---

static void close_pipes(FerryChild *child)
{
    if (child->source != 0)
        g_source_remove(child->source);
    child->source = 0;
    close(child->to);
    close(child->from);
}

static void on_end(GPid pid, gint status, gpointer data)
{
    FerryChild *child = data;
    g_autoptr(GError) how = NULL;
    g_spawn_close_pid(pid);
    if (!child->freed)
        drain(child);
    if (!child->freed) {
        g_autoptr(GError) error = NULL;
        bool failed = !g_spawn_check_wait_status(status, &how);
        g_set_error(&error, FERRY_ERROR, FERRY_ERROR_CHILD, "%s ended before its work was done: %s",
                    child->name, failed ? how->message : "without an error of its own");
        child->events.ended(error, child->data);
    }
    unref(child);
}

void ferry_child_leave(FerryChild *child)
{
    close_pipes(child);
    child->freed = true;
    unref(child);
}

void ferry_child_free(FerryChild *child)
{
    if (child == NULL)
        return;
    syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0); // on_end reaps it
    ferry_child_leave(child);
}

// --- its beginning ---

FerryChild *ferry_child_start(const char *const *argv, const FerryChildEvents *events,
                              gpointer data, GError **error)
{
    g_autoptr(GError) failed = NULL;
    GPid pid;
    int to, from;
    if (!g_spawn_async_with_pipes(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD,
                                  NULL, NULL, &pid, &to, &from, NULL, &failed)) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CHILD, "%s cannot be started: %s", argv[0],
                    failed->message);
        return NULL;
    }
    FerryChild *child = g_new0(FerryChild, 1);
    *child = (FerryChild){.references = 2,
                          .name = g_path_get_basename(argv[0]),
                          .events = *events,
                          .data = data,
                          .pidfd = (int)syscall(SYS_pidfd_open, pid, 0),
                          .to = to,
                          .from = from,
                          .line = g_string_new(NULL)};
    g_unix_set_fd_nonblocking(from, TRUE, NULL);
    child->source = g_unix_fd_add(from, G_IO_IN | G_IO_HUP | G_IO_ERR, on_output, child);
    g_child_watch_add(pid, on_end, child);
    return child;
}

void ferry_child_command(FerryChild *child, json_t *command)
{
    g_autofree char *text = json_dumps(command, JSON_COMPACT);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    json_decref(command);
    ssize_t length = (ssize_t)strlen(line); // far below PIPE_BUF: whole or not at all
    if (write(child->to, line, (size_t)length) != length)
        g_debug("%s does not take commands: %s", child->name, g_strerror(errno));
}

GError *ferry_child_error(json_t *event)
{
    const char *message = json_string_value(json_object_get(event, "message"));
    const char *code = json_string_value(json_object_get(event, "code"));
    return g_error_new_literal(FERRY_ERROR, (int)ferry_error_code_from_name(code),
                               message != NULL ? message : "it gave no reason");
}
