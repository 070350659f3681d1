// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/unix_socket.h"

#include "hvcore/fs.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 8 };

static bool set_path(struct sockaddr_un *address, const char *path)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    errno = ENAMETOOLONG;
    return g_strlcpy(address->sun_path, path, sizeof address->sun_path) < sizeof address->sun_path;
}

static int problem(GError **error, int code, const char *path)
{
    g_set_error(error, HV_ERROR, code, "socket %s: %s", path, g_strerror(errno));
    return -1;
}

int hv_unix_connect(const char *path, GError **error)
{
    struct sockaddr_un address;
    HV_AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || !set_path(&address, path) ||
        connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return problem(error, HV_ERROR_CLOSED, path);
    return hv_steal_fd(&fd);
}

int hv_unix_listen(const char *path, GError **error)
{
    struct sockaddr_un address;
    HV_AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !set_path(&address, path))
        return problem(error, HV_ERROR_START, path);
    (void)unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
        return problem(error, HV_ERROR_START, path);
    return hv_steal_fd(&fd);
}
