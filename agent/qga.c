// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/qga.h"

#include "hvcore/definition_private.h"
#include "hvcore/fs.h"
#include "hvcore/unix_socket.h"

#include <errno.h>
#include <glib-unix.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

enum {
    LINE_LIMIT = 4096,
    TALK_LIMIT = 64 * 1024,
    WORDS_LIMIT = 200, // of the guest's that an error quotes
};
// Not in UTF-8, so in no JSON either: it ends what came before it.
#define DELIMITER '\xff'

unsigned qga_patience_ms = QGA_ANSWER_MS;

struct Qga {
    int fd;
    guint source;
    guint timer; // the answer's deadline
    GString *in; // read, and no whole line
    gsize total; // read in all
    bool synced;
    json_int_t id; // of the sync
    const char *command;
    QgaFn done;
    gpointer data;
};

// --- the end of a command; the callback may free QGA ---

static void answer(Qga *qga, const json_t *value, const GError *error)
{
    QgaFn done = qga->done;
    g_clear_handle_id(&qga->timer, g_source_remove);
    qga->done = NULL;
    done(value, error, qga->data);
}

G_GNUC_PRINTF(3, 4)
static void give_up(Qga *qga, AgentErrorCode code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autoptr(GError) error = g_error_new_valist(AGENT_ERROR, (gint)code, format, arguments);
    va_end(arguments);
    g_clear_handle_id(&qga->source, g_source_remove);
    if (qga->done != NULL)
        answer(qga, NULL, error);
}

// An agent that has answered is there, and only slow.
static unsigned patience_ms(const Qga *qga)
{
    return qga->synced ? QGA_TIMES_ONCE_THERE * qga_patience_ms : qga_patience_ms;
}

static gboolean is_silent(gpointer data)
{
    Qga *qga = data;
    qga->timer = 0;
    give_up(qga, AGENT_ERROR_TIMEOUT,
            "the guest agent has not answered %s within %u s; is qemu-guest-agent installed in the "
            "guest, and running?",
            qga->command, patience_ms(qga) / 1000);
    return G_SOURCE_REMOVE;
}

static gboolean is_unsent(gpointer data)
{
    Qga *qga = data;
    qga->timer = 0;
    give_up(qga, AGENT_ERROR_FAILED, "QEMU does not take %s for the guest agent", qga->command);
    return G_SOURCE_REMOVE;
}

// --- what the guest says ---

// The guest's words go to logs and terminals.
static char *printable(const char *words)
{
    GString *text = g_string_new(NULL);
    for (const char *at = words; *at != '\0' && text->len < WORDS_LIMIT; at = g_utf8_next_char(at)) {
        gunichar letter = g_utf8_get_char(at);
        g_string_append_unichar(text, g_unichar_isprint(letter) ? letter : '?');
    }
    return g_string_free(text, FALSE);
}

static GError *guests_error(const Qga *qga, const json_t *error)
{
    const char *words = json_string_value(json_object_get(error, "desc"));
    const char *class = json_string_value(json_object_get(error, "class"));
    g_autofree char *shown = printable(words != NULL ? words : "an error without a description");
    bool missing = g_strcmp0(class, "CommandNotFound") == 0;
    return g_error_new(AGENT_ERROR, AGENT_ERROR_REFUSED, "the guest agent answers %s with \"%s\"%s",
                       qga->command, shown,
                       missing ? "; its own settings (block-rpcs in qemu-ga.conf) have to allow it"
                               : "");
}

static void take_answer(Qga *qga, json_t *object)
{
    const json_t *value = json_object_get(object, "return"), *error = json_object_get(object, "error");
    if (json_is_object(error)) {
        g_autoptr(GError) refused = guests_error(qga, error);
        answer(qga, NULL, refused);
    } else if (value != NULL) {
        answer(qga, value, NULL);
    } else {
        give_up(qga, AGENT_ERROR_FAILED,
                "the guest agent's answer to %s is not of its protocol; is it qemu-guest-agent that "
                "runs in the guest?",
                qga->command);
    }
}

// The agent ends a line, and says nothing more before it is asked.
static void look_for_answer(Qga *qga)
{
    const char *end = memchr(qga->in->str, '\n', qga->in->len);
    if (end == NULL)
        return;
    bool last = end == qga->in->str + qga->in->len - 1;
    g_autoptr(json_t) object = json_loadb(qga->in->str, (size_t)(end - qga->in->str), 0, NULL);
    g_string_truncate(qga->in, 0);
    if (last && qga->done != NULL)
        take_answer(qga, object);
    else
        give_up(qga, AGENT_ERROR_FAILED, "the guest agent says more than it is asked");
}

// What stands before the last delimiter is of an earlier talk; so is a line with another id.
static void look_for_sync(Qga *qga)
{
    const char *begin = memrchr(qga->in->str, DELIMITER, qga->in->len);
    g_string_erase(qga->in, 0, begin != NULL ? begin - qga->in->str : -1);
    const char *end = memchr(qga->in->str, '\n', qga->in->len);
    if (end == NULL)
        return;
    const char *line = qga->in->str + 1; // behind the delimiter
    g_autoptr(json_t) object = json_loadb(line, (size_t)(end - line), 0, NULL);
    const json_t *id = json_object_get(object, "return");
    g_string_truncate(qga->in, 0);
    if (!json_is_integer(id) || json_integer_value(id) != qga->id)
        return;
    qga->synced = true;
    answer(qga, id, NULL);
}

static gboolean readable(gint fd, GIOCondition condition, gpointer data)
{
    (void)condition;
    Qga *qga = data;
    char bytes[LINE_LIMIT];
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    if (got <= 0) {
        give_up(qga, AGENT_ERROR_FAILED, "QEMU has closed the guest agent's port");
        return G_SOURCE_CONTINUE;
    }
    qga->total += (gsize)got;
    g_string_append_len(qga->in, bytes, got);
    if (qga->synced)
        look_for_answer(qga);
    else
        look_for_sync(qga);
    return G_SOURCE_CONTINUE;
}

static gboolean within_limits(gint fd, GIOCondition condition, gpointer data)
{
    Qga *qga = data;
    if (qga->total < TALK_LIMIT && qga->in->len < LINE_LIMIT)
        return readable(fd, condition, data);
    give_up(qga, AGENT_ERROR_FAILED, "the guest agent says too much; is it qemu-guest-agent that runs "
                                     "in the guest?");
    return G_SOURCE_CONTINUE;
}

// --- what it is asked ---

static bool send_text(Qga *qga, const char *text, size_t length)
{
    return send(qga->fd, text, length, MSG_NOSIGNAL) == (ssize_t)length;
}

void qga_ask(Qga *qga, const char *command, json_t *arguments, QgaFn done, gpointer data)
{
    g_autoptr(json_t) object = json_pack("{s:s, s:o*}", "execute", command, "arguments", arguments);
    char *text = json_dumps(object, JSON_COMPACT);
    g_autofree char *line = g_strdup_printf("%s\n", text);
    free(text);
    qga->command = command;
    qga->done = done;
    qga->data = data;
    qga->timer = send_text(qga, line, strlen(line))
                     ? g_timeout_add(patience_ms(qga), is_silent, qga)
                     : g_idle_add(is_unsent, qga);
}

Qga *qga_open(const char *path, QgaFn synced, gpointer data, GError **error)
{
    static const char delimiter[] = {DELIMITER};
    int fd = hv_unix_connect(path, error);
    if (fd < 0)
        return NULL;
    Qga *qga = g_new0(Qga, 1);
    *qga = (Qga){.fd = fd, .in = g_string_new(NULL), .id = g_random_int()};
    qga->source = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, within_limits, qga);
    (void)send_text(qga, delimiter, sizeof delimiter); // where that fails, the next does
    qga_ask(qga, "guest-sync-delimited", json_pack("{s:I}", "id", qga->id), synced, data);
    return qga;
}

void qga_free(Qga *qga)
{
    if (qga == NULL)
        return;
    g_clear_handle_id(&qga->source, g_source_remove);
    g_clear_handle_id(&qga->timer, g_source_remove);
    hv_close_fd(&qga->fd);
    g_string_free(qga->in, TRUE);
    g_free(qga);
}
