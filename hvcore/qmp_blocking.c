// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/qmp_blocking.h"

#include "hvcore/definition_private.h"
#include "hvcore/fs.h"
#include "hvcore/run.h"
#include "hvcore/unix_socket.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { INPUT_MAX = 1024 * 1024 };

static bool wait_for(QmpBlocking *qmp, short events, GError **error)
{
    if (hv_wait_fd(qmp->fd, events, qmp->end_us))
        return true;
    g_set_error(error, HV_ERROR, HV_ERROR_TIMEOUT, "QEMU's monitor did not answer in time");
    return false;
}

static bool closed(GError **error, const char *why)
{
    g_set_error(error, HV_ERROR, HV_ERROR_CLOSED, "QEMU's monitor: %s", why);
    return false;
}

static bool send_text(QmpBlocking *qmp, const char *text, GError **error)
{
    for (size_t left = strlen(text); left;) {
        if (!wait_for(qmp, POLLOUT, error))
            return false;
        ssize_t n = send(qmp->fd, text, left, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return closed(error, g_strerror(errno));
        text += MAX(n, 0);
        left -= (size_t)MAX(n, 0);
    }
    return true;
}

static bool receive(QmpBlocking *qmp, GError **error)
{
    char chunk[4096];
    if (!wait_for(qmp, POLLIN, error))
        return false;
    ssize_t n = recv(qmp->fd, chunk, sizeof chunk, 0);
    if (n == 0)
        return closed(error, "closed");
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        return closed(error, g_strerror(errno));
    g_string_append_len(qmp->input, chunk, MAX(n, 0));
    return qmp->input->len <= INPUT_MAX || closed(error, "line too long");
}

static json_t *read_message(QmpBlocking *qmp, GError **error)
{
    const char *newline;
    while (!(newline = memchr(qmp->input->str, '\n', qmp->input->len)))
        if (!receive(qmp, error))
            return NULL;
    gssize length = newline - qmp->input->str;
    json_t *message = json_loadb(qmp->input->str, (size_t)length, 0, NULL);
    g_string_erase(qmp->input, 0, length + 1);
    if (!message && qmp->joined)
        return json_object(); // the end of what another one had begun to read
    if (!message)
        closed(error, "not JSON");
    return message;
}

static bool is_answer(json_t *message, json_t *request)
{
    json_t *id = json_object_get(request, "id");
    return !id || json_equal(json_object_get(message, "id"), id);
}

// Takes REQUEST.
static json_t *converse(QmpBlocking *qmp, const char *command, json_t *request, GError **error)
{
    g_autoptr(json_t) sent = request;
    g_autofree char *text = json_dumps(request, JSON_COMPACT);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    if (!send_text(qmp, line, error))
        return NULL;
    for (;;) {
        g_autoptr(json_t) message = read_message(qmp, error);
        json_t *result = json_object_get(message, "return");
        json_t *problem = json_object_get(message, "error");
        if (!message)
            return NULL;
        if (!is_answer(message, sent))
            continue;
        if (result)
            return json_incref(result);
        if (!problem)
            continue; // an event
        const char *reason = json_string_value(json_object_get(problem, "desc"));
        g_set_error(error, HV_ERROR, HV_ERROR_QMP, "%s: QEMU: %s", command,
                    reason ? reason : "unspecified error");
        return NULL;
    }
}

json_t *qmp_blocking_execute(QmpBlocking *qmp, const char *command, GError **error)
{
    return converse(qmp, command, json_pack("{s:s}", "execute", command), error);
}

json_t *qmp_blocking_execute_oob(QmpBlocking *qmp, const char *command, json_t *arguments,
                                 GError **error)
{
    // No other one of this node's time has the same.
    g_autofree char *id = g_strdup_printf("%" G_GINT64_FORMAT, g_get_monotonic_time());
    return converse(qmp, command,
                    json_pack("{s:s, s:o, s:s}", "exec-oob", command, "arguments", arguments, "id",
                              id),
                    error);
}

static bool handshake(QmpBlocking *qmp, bool oob, GError **error)
{
    g_autoptr(json_t) greeting = read_message(qmp, error);
    while (greeting && json_object_get(greeting, "event")) { // for whoever was here before
        json_decref(greeting);
        greeting = read_message(qmp, error);
    }
    if (!greeting)
        return false;
    if (!json_object_get(greeting, "QMP"))
        return closed(error, "did not greet as QMP does");
    json_t *request = json_pack("{s:s}", "execute", "qmp_capabilities");
    if (oob)
        json_object_set_new(request, "arguments", json_pack("{s:[s]}", "enable", "oob"));
    g_autoptr(json_t) result = converse(qmp, "qmp_capabilities", request, error);
    return result;
}

static bool open_monitor(QmpBlocking *qmp, const char *path, bool oob, gint64 end_us,
                         GError **error)
{
    g_auto(QmpBlocking) fresh = {hv_unix_connect(path, error), NULL, end_us, false};
    if (fresh.fd < 0)
        return false;
    fresh.input = g_string_new(NULL);
    if (!handshake(&fresh, oob, error))
        return false;
    *qmp = fresh;
    fresh = (QmpBlocking){.fd = -1};
    return true;
}

bool qmp_blocking_open(QmpBlocking *qmp, const char *path, gint64 end_us, GError **error)
{
    return open_monitor(qmp, path, false, end_us, error);
}

bool qmp_blocking_open_oob(QmpBlocking *qmp, const char *path, gint64 end_us, GError **error)
{
    return open_monitor(qmp, path, true, end_us, error);
}

void qmp_blocking_join(QmpBlocking *qmp, int fd, gint64 end_us)
{
    *qmp = (QmpBlocking){fd, g_string_new(NULL), end_us, true};
}

void qmp_blocking_clear(QmpBlocking *qmp)
{
    hv_close_fd(&qmp->fd);
    if (qmp->input)
        g_string_free(qmp->input, TRUE);
    qmp->input = NULL;
}
