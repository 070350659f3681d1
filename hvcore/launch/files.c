// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/launch/files.h"

#include "hvcore/fs.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool problem(GError **error, const char *what)
{
    g_set_error(error, HV_ERROR, HV_ERROR_START, "%s: %s", what, g_strerror(errno));
    return false;
}

static bool add(LaunchFds *fds, const char *text, int *number, GError **error)
{
    guint64 parsed;
    if (!g_ascii_string_to_unsigned(text, 10, 3, G_MAXINT, &parsed, error))
        return false;
    *number = (int)parsed;
    g_array_append_val(fds, *number);
    return true;
}

bool launch_keep(LaunchFds *fds, const char *text, GError **error)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    for (char **word = words; *word; word++) {
        int number;
        if (!add(fds, *word, &number, error))
            return false;
        if (fcntl(number, F_SETFD, 0) < 0)
            return problem(error, *word);
    }
    return true;
}

bool launch_open(LaunchFds *fds, const char *text, GError **error)
{
    g_auto(GStrv) words = g_strsplit(text, ":", 3);
    int number;
    if (g_strv_length(words) != 3 || (strcmp(words[1], "ro") != 0 && strcmp(words[1], "rw") != 0)) {
        g_set_error(error, HV_ERROR, HV_ERROR_START, "--open=%s: it needs NUMBER:ro|rw:PATH", text);
        return false;
    }
    if (!add(fds, words[0], &number, error))
        return false;
    int access = strcmp(words[1], "rw") == 0 ? O_RDWR : O_RDONLY;
    // Its disks' cache.direct is on; newer QEMUs (10.0 was seen to) take no descriptor of a set that lacks O_DIRECT.
    HV_AUTO_FD fd = open(words[2], access | O_DIRECT | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno == EINVAL) {
        g_set_error(error, HV_ERROR, HV_ERROR_START,
                    "%s: its file system has no direct I/O (O_DIRECT); put the disk on another one", words[2]);
        return false;
    }
    if (fd < 0 || dup2(fd, number) < 0 || fcntl(number, F_SETFD, 0) < 0)
        return problem(error, words[2]);
    if (fd == number)
        (void)hv_steal_fd(&fd);
    return true;
}

static gint compare(gconstpointer a, gconstpointer b)
{
    return *(const int *)a - *(const int *)b;
}

bool launch_close_others(LaunchFds *fds, GError **error)
{
    unsigned from = STDERR_FILENO + 1;
    g_array_sort(fds, compare);
    for (guint i = 0; i < fds->len; i++) {
        unsigned number = (unsigned)g_array_index(fds, int, i);
        if (number > from && close_range(from, number - 1, 0) < 0)
            return problem(error, "close_range");
        from = number + 1;
    }
    return close_range(from, ~0U, 0) == 0 || problem(error, "close_range");
}
