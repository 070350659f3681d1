// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/unix_listen.h"

#include "agent/error.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// One monitor for each VM of a node may come at the same time.
enum { BACKLOG = 64, FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC };

// 0 where nothing is in the way any more.
static int remove_stale(const struct sockaddr_un *address, int type)
{
    int fd = socket(AF_UNIX, type | FLAGS, 0);
    if (fd < 0)
        return errno;
    int problem = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    close(fd);
    if (problem == ENOENT)
        return 0;
    if (problem == 0 || problem == EAGAIN) // its backlog is full
        return EADDRINUSE;
    if (problem != ECONNREFUSED)
        return problem;
    return unlink(address->sun_path) == 0 ? 0 : errno;
}

static int fail(int fd, const char *path, int problem, GError **error)
{
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_FAILED,
                "cannot listen on %s: %s; is run_dir there, writable for root, and what is in the "
                "socket's place?",
                path, g_strerror(problem));
    if (fd >= 0)
        close(fd);
    return -1;
}

int agent_unix_listen(const char *path, int type, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (g_strlcpy(address.sun_path, path, sizeof address.sun_path) >= sizeof address.sun_path) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_FAILED,
                    "%s is too long for a unix socket; choose a shorter run_dir", path);
        return -1;
    }
    int problem = remove_stale(&address, type);
    if (problem == EADDRINUSE) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT,
                    "another vmferryd listens on %s; stop it first, or give this one its own "
                    "run_dir",
                    path);
        return -1;
    }
    if (problem != 0)
        return fail(-1, path, problem, error);
    int fd = socket(AF_UNIX, type | FLAGS, 0);
    // The mode before bind, so that the socket is never there with a wider one.
    if (fd < 0 || fchmod(fd, 0600) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
        return fail(fd, path, errno, error);
    return fd;
}
