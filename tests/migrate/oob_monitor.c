// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/migrate/oob_monitor.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TRIES = 1000, AGAIN_US = 10000 };

static char *read_line(int fd)
{
    GString *line = g_string_new(NULL);
    for (char c = 0; c != '\n';) {
        g_assert_cmpint(read(fd, &c, 1), ==, 1);
        g_string_append_c(line, c);
    }
    return g_string_free(line, FALSE);
}

static void write_text(int fd, const char *text)
{
    g_assert_cmpint(send(fd, text, strlen(text), MSG_NOSIGNAL), ==, (ssize_t)strlen(text));
}

// Skips events.
static bool succeeds(int fd, const char *command)
{
    write_text(fd, command);
    for (;;) {
        g_autofree char *line = read_line(fd);
        if (strstr(line, "\"return\"") != NULL)
            return true;
        if (strstr(line, "\"error\"") != NULL) {
            g_test_message("%s", line);
            return false;
        }
    }
}

int oob_monitor_open(const char *run_dir, const char *name)
{
    g_autofree char *path = g_build_filename(run_dir, name, "qmp-aux.sock", NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_assert_cmpuint(g_strlcpy(address.sun_path, path, sizeof address.sun_path), <,
                     sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_autofree char *greeting = read_line(fd);
    while (strstr(greeting, "\"event\"") != NULL) { // events may come before it
        g_free(greeting);
        greeting = read_line(fd);
    }
    g_assert_nonnull(strstr(greeting, "\"oob\""));
    g_assert_true(succeeds(
        fd, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}\n"));
    return fd;
}

void oob_monitor_recover(int fd, const char *socket_path)
{
    g_autofree char *command =
        g_strdup_printf("{\"exec-oob\":\"migrate-recover\",\"id\":1,\"arguments\":{\"uri\":"
                        "\"unix:%s\"}}\n",
                        socket_path);
    for (unsigned i = 0; !succeeds(fd, command); i++) {
        g_assert_cmpuint(i, <, TRIES);
        g_usleep(AGAIN_US); // until QEMU is paused
    }
}
