// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/hvcore/fake_qmp.h"

#include "tests/hvcore/support.h"

#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const fake_qmp_commands[] = {"qmp_capabilities",
                                         "query-status",
                                         "query-uuid",
                                         "query-migrate",
                                         "cont",
                                         "stop",
                                         "system_powerdown",
                                         "quit",
                                         "announce-self",
                                         "migrate",
                                         "migrate_cancel",
                                         "migrate-incoming",
                                         "migrate-recover",
                                         "migrate-set-capabilities",
                                         "migrate-set-parameters",
                                         "blockdev-create",
                                         "blockdev-add",
                                         "blockdev-del",
                                         "nbd-server-start",
                                         "nbd-server-stop",
                                         "block-export-add",
                                         "block-export-del",
                                         "snapshot-save",
                                         "query-jobs",
                                         "job-dismiss",
                                         NULL};
const char *const fake_qmp_events[] = {"GUEST_PANICKED", "MIGRATION", "RESET", "RESUME",
                                       "SHUTDOWN",       "STOP",      NULL};

struct FakeQmp {
    int fd;
    guint source;
    GString *input;
    const FakeStep *step;
    json_int_t last_id;
};

void fake_qmp_send_raw(FakeQmp *fake, const char *text)
{
    g_assert_cmpint(send(fake->fd, text, strlen(text), MSG_NOSIGNAL), ==, (gssize)strlen(text));
}

void fake_qmp_hang_up(FakeQmp *fake)
{
    if (fake->source)
        g_source_remove(fake->source);
    fake->source = 0;
    if (fake->fd >= 0)
        (void)close(fake->fd);
    fake->fd = -1;
}

static void send_with_id(FakeQmp *fake, const char *text, const char *mark)
{
    g_autofree char *id = g_strdup_printf("%" JSON_INTEGER_FORMAT, fake->last_id);
    g_auto(GStrv) parts = g_strsplit(text, mark, -1);
    g_autofree char *filled = g_strjoinv(id, parts);
    g_autofree char *line = g_strconcat(filled, "\n", NULL);
    fake_qmp_send_raw(fake, line);
}

void fake_qmp_send(FakeQmp *fake, const char *text)
{
    send_with_id(fake, text, "$LAST");
}

static void handle(FakeQmp *fake, const char *line)
{
    json_t *message = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    g_assert_nonnull(message);
    const char *command = json_string_value(json_object_get(message, "execute"));
    g_assert_true(g_strv_contains(fake_qmp_commands, command));
    fake->last_id = json_integer_value(json_object_get(message, "id"));
    g_assert_nonnull(fake->step->expect);
    g_assert_cmpstr(command, ==, fake->step->expect);
    json_decref(message);
    const char *reply = (fake->step++)->reply;
    if (g_strcmp0(reply, "CUT") == 0)
        fake_qmp_hang_up(fake);
    else if (reply)
        send_with_id(fake, reply, "$ID");
}

static gboolean on_input(gint fd, GIOCondition condition, gpointer pointer)
{
    (void)condition;
    FakeQmp *fake = pointer;
    char chunk[4096];
    ssize_t n = recv(fd, chunk, sizeof chunk, 0);
    if (n <= 0) {
        fake->source = 0;
        return G_SOURCE_REMOVE;
    }
    g_string_append_len(fake->input, chunk, n);
    const char *newline;
    while (fake->fd >= 0 && (newline = strchr(fake->input->str, '\n'))) {
        g_autofree char *line = g_strndup(fake->input->str, (gsize)(newline - fake->input->str));
        g_string_erase(fake->input, 0, newline - fake->input->str + 1);
        handle(fake, line);
    }
    return fake->fd >= 0 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

FakeQmp *fake_qmp_new(int *client_fd, const char *greeting, const FakeStep *steps)
{
    int ends[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
    FakeQmp *fake = g_new0(FakeQmp, 1);
    fake->fd = ends[0];
    fake->step = steps;
    fake->input = g_string_new(NULL);
    fake->source = g_unix_fd_add(fake->fd, G_IO_IN | G_IO_HUP, on_input, fake);
    *client_fd = ends[1];
    if (!greeting)
        greeting = "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":22}},"
                   "\"capabilities\":[\"oob\"]}}";
    if (*greeting)
        fake_qmp_send(fake, greeting);
    return fake;
}

bool fake_qmp_done(gpointer pointer)
{
    return !((FakeQmp *)pointer)->step->expect;
}

void fake_qmp_free(FakeQmp *fake)
{
    fake_qmp_hang_up(fake);
    g_string_free(fake->input, TRUE);
    g_free(fake);
}
