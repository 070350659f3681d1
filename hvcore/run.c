// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/run.h"

#include "hvcore/fs.h"
#include "hvcore/spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_MAX = 64 * 1024 };

bool hv_wait_fd(int fd, short events, gint64 end_us)
{
    for (;;) {
        gint64 left = end_us - g_get_monotonic_time();
        int timeout = left <= 0 ? 0 : (int)MIN((left + 999) / 1000, G_MAXINT);
        struct pollfd item = {fd, events, 0};
        int n = poll(&item, 1, timeout);
        if (n > 0)
            return true;
        if ((n == 0 && timeout == 0) || (n < 0 && errno != EINTR))
            return false;
    }
}

// Collects output until all writers are gone; false where END_US came first.
static bool collect(int fd, gint64 end_us, GString *output)
{
    char chunk[4096];
    while (hv_wait_fd(fd, POLLIN, end_us)) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (n > 0 && output->len < OUTPUT_MAX)
            g_string_append_len(output, chunk, n);
    }
    return false;
}

static bool reap(HvSpawn *spawn, gint64 end_us, int *status)
{
    if (!hv_wait_fd(spawn->pidfd, POLLIN, end_us))
        return false;
    while (waitpid(spawn->pid, status, 0) < 0 && errno == EINTR)
        ;
    spawn->pid = 0;
    return true;
}

bool hv_run(char *const *argv, const int *fds, size_t n_fds, unsigned deadline_ms,
            HvRunResult *result, GError **error)
{
    gint64 end_us = g_get_monotonic_time() + (gint64)deadline_ms * 1000;
    g_autoptr(GString) output = g_string_new(NULL);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        g_set_error(error, HV_ERROR, HV_ERROR_START, "pipe: %s", g_strerror(errno));
        return false;
    }
    HV_AUTO_FD reader = ends[0];
    HV_AUTO_FD writer = ends[1];
    g_auto(HvSpawn) spawn = HV_SPAWN_INIT;
    if (!hv_spawn_prepare(argv, writer, fds, n_fds, &spawn, error) ||
        !hv_spawn_release(&spawn, error))
        return false;
    hv_close_fd(&writer);
    int status = 0;
    if (!collect(reader, end_us, output) || !reap(&spawn, end_us, &status)) {
        g_set_error(error, HV_ERROR, HV_ERROR_TIMEOUT, "%s did not end within %u ms", argv[0],
                    deadline_ms);
        return false; // spawn's cleanup kills and reaps it
    }
    result->output = g_utf8_make_valid(output->str, -1);
    result->status = status;
    g_strstrip(result->output);
    return true;
}

void hv_run_result_clear(HvRunResult *result)
{
    g_clear_pointer(&result->output, g_free);
}
