// SPDX-License-Identifier: GPL-2.0-or-later
// The resource agent's own talk with QEMU's monitor, one command after the other.
#include "tests/fuzz/fuzz.h"

#include "hvcore/qmp_blocking.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { COMMANDS = 4, MAX = 64 * 1024 }; // less than what a socket holds

// Instead of a connection by path.
static int connected;
int __wrap_hv_unix_connect(const char *path, GError **error);
int __wrap_hv_unix_connect(const char *path, GError **error)
{
    (void)path, (void)error;
    return connected;
}

// Takes FD.
static bool begin(QmpBlocking *qmp, int fd, uint8_t how)
{
    g_autoptr(GError) error = NULL;
    gint64 end_us = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
    bool opened = true;
    connected = fd;
    if (how & 1)
        qmp_blocking_join(qmp, fd, end_us);
    else if (how & 2)
        opened = qmp_blocking_open_oob(qmp, "monitor", end_us, &error);
    else
        opened = qmp_blocking_open(qmp, "monitor", end_us, &error);
    fuzz_check_error(opened, error);
    return opened;
}

static bool ask(QmpBlocking *qmp)
{
    g_autoptr(GError) error = NULL;
    json_t *result = qmp_blocking_execute(qmp, "query-status", &error);
    fuzz_check_error(result != NULL, error);
    bool goes_on = result != NULL || g_error_matches(error, HV_ERROR, HV_ERROR_QMP);
    json_decref(result);
    return goes_on;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    FuzzInput input = {data, MIN(size, (size_t)MAX)};
    uint8_t how = fuzz_u8(&input);
    FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "no sockets");
    FUZZ_REQUIRE(send(ends[1], input.data, input.size, MSG_DONTWAIT) == (ssize_t)input.size,
                 "the socket is too small");
    shutdown(ends[1], SHUT_WR);
    g_auto(QmpBlocking) qmp = {.fd = -1};
    if (begin(&qmp, ends[0], how))
        for (int i = 0; i < COMMANDS && ask(&qmp); i++)
            ;
    close(ends[1]);
    return 0;
}
