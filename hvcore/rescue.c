// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/rescue.h"

#include "hvcore/fs.h"

#include <errno.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

// Its answer is read by whoever gives the first command.
static const char negotiation[] =
    "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}\n";

bool hv_rescue_open(int ends[2], GError **error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        g_set_error(error, HV_ERROR, HV_ERROR_START, "socketpair: %s", g_strerror(errno));
        return false;
    }
    memcpy(ends, pair, sizeof pair);
    size_t length = sizeof negotiation - 1; // an empty socket takes it whole
    if (send(ends[HV_RESCUE_HELD], negotiation, length, MSG_NOSIGNAL) == (ssize_t)length)
        return true;
    g_set_error(error, HV_ERROR, HV_ERROR_START, "QEMU's monitor: %s", g_strerror(errno));
    hv_close_fd(&ends[0]);
    hv_close_fd(&ends[1]);
    return false;
}

int hv_rescue_take(int pidfd, int number, GError **error)
{
    int fd = number >= 0 ? pidfd_getfd(pidfd, number, 0) : -1;
    if (fd < 0)
        g_set_error(error, HV_ERROR, HV_ERROR_CLOSED,
                    "QEMU's monitor for a lost pager cannot be taken from it: %s",
                    number >= 0 ? g_strerror(errno) : "it was started without one");
    return fd;
}

void hv_rescue_end(int pidfd, int number)
{
    HV_AUTO_FD fd = hv_rescue_take(pidfd, number, NULL);
    if (fd >= 0)
        (void)shutdown(fd, SHUT_RDWR);
}
