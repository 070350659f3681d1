// SPDX-License-Identifier: GPL-2.0-or-later
#include "resource-agents/client.h"

#include "hvcore/error.h"
#include "resource-agents/ocf.h"
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    RETRY_US = 100000,
    MAX_REQUEST = 256 * 1024,
    MAX_REPLY = 64 * 1024,
};

static char *down_message(const char *path, int problem)
{
    return g_strdup_printf("vmferryd does not answer on %s (%s); is vmferryd.service running?",
                           path, g_strerror(problem));
}

static char *request_text(const Operation *operation)
{
    unsigned left_ms = operation_left_ms(operation->end_us);
    json_t *request =
        json_pack("{s:s, s:s, s:s, s:i, s:b}", "op", operation->action, "vm", operation->vm,
                  "definition", operation->definition, "timeout_ms",
                  (int)(left_ms > 2 * CLIENT_HEAD_START_MS ? left_ms - CLIENT_HEAD_START_MS : left_ms / 2),
                  "probe", operation->probe);
    if (request != NULL && operation->peer != NULL)
        json_object_set_new(request, "peer", json_string(operation->peer));
    char *text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    return text;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (g_strlcpy(address.sun_path, path, sizeof address.sun_path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        // A message goes into the buffer whole or not at all; the default may be smaller.
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &(int){MAX_REQUEST}, sizeof(int));
        return fd;
    }
    int problem = errno;
    close(fd);
    errno = problem;
    return -1;
}

static ClientResult answered(const char *text, size_t length, int *ocf, char **message)
{
    json_error_t problem;
    const char *reason;
    json_t *reply = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
    if (reply != NULL &&
        json_unpack_ex(reply, &problem, 0, "{s:i, s:s}", "ocf", ocf, "message", &reason) == 0) {
        *message = g_strdup(reason);
    } else {
        *ocf = OCF_ERR_GENERIC;
        *message = g_strdup_printf("vmferryd's answer is not understood (%s); are the resource "
                                   "agent and vmferryd of one release?",
                                   problem.text);
    }
    json_decref(reply);
    return CLIENT_ANSWERED;
}

static ClientResult silent(const Operation *operation, char **message)
{
    *message = g_strdup_printf("vmferryd did not finish %s of %s in time; its journal says what it "
                               "waits for",
                               operation->action, operation->vm);
    return CLIENT_SILENT;
}

static ClientResult await_answer(const Operation *operation, int fd, const char *path, int *ocf,
                                 char **message)
{
    char text[MAX_REPLY];
    for (;;) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        unsigned left_ms = operation_left_ms(operation->end_us);
        int ready = poll(&readable, 1, (int)left_ms);
        if (ready == 0)
            return silent(operation, message);
        if (ready < 0)
            continue; // only EINTR can happen here
        ssize_t length = recv(fd, text, MAX_REPLY, 0);
        if (length > 0)
            return answered(text, (size_t)length, ocf, message);
        *message = down_message(path, length < 0 ? errno : ECONNRESET);
        return CLIENT_LOST;
    }
}

ClientResult client_ask(const Operation *operation, int *ocf, char **message)
{
    g_autofree char *path = g_build_filename(operation->run_dir, "ra.sock", NULL);
    char *text = request_text(operation);
    if (text == NULL) {
        *ocf = OCF_ERR_CONFIGURED;
        *message = g_strdup("the resource's parameters are not UTF-8");
        return CLIENT_ANSWERED;
    }
    size_t length = strlen(text);
    int fd = connect_to(path);
    ssize_t sent = fd >= 0 ? send(fd, text, length, MSG_NOSIGNAL) : -1;
    int problem = errno;
    ClientResult result;
    free(text);
    if (sent >= 0) {
        result = await_answer(operation, fd, path, ocf, message);
    } else if (problem == EMSGSIZE) {
        *ocf = OCF_ERR_CONFIGURED;
        *message = g_strdup("definition: it is larger than 256 KiB");
        result = CLIENT_ANSWERED;
    } else {
        *message = down_message(path, problem);
        result = CLIENT_DOWN;
    }
    if (fd >= 0)
        close(fd);
    return result;
}

ClientResult client_insist(const Operation *operation, gint64 patience_us, gint64 until_us,
                           int *ocf, char **message)
{
    gint64 down_since_us = g_get_monotonic_time();
    for (;;) {
        ClientResult result = client_ask(operation, ocf, message);
        if (result == CLIENT_ANSWERED || result == CLIENT_SILENT)
            return result;
        gint64 now_us = g_get_monotonic_time();
        if (result == CLIENT_LOST)
            down_since_us = now_us;
        gint64 left_us = MIN(until_us, down_since_us + patience_us) - now_us;
        if (left_us <= 0)
            return result;
        g_clear_pointer(message, g_free);
        g_usleep((gulong)MIN(left_us, RETRY_US));
    }
}
