// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/qmp.h"

#include "hvcore/definition_private.h"
#include "hvcore/fs.h"
#include <errno.h>
#include <glib-unix.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    LINE_MAX_BYTES = 16 * 1024 * 1024,
    READ_CHUNK = 64 * 1024,
};

typedef enum { STATE_GREETING, STATE_NEGOTIATING, STATE_READY, STATE_CLOSED } State;

struct QmpClient {
    int references;
    bool freed;
    State state;
    int fd;
    guint readable, writable, failing, handshake_timer;
    GByteArray *input;
    size_t scanned; // input before this holds no newline
    GByteArray *output;
    GHashTable *commands; // uint64_t id -> Command
    uint64_t next_id;
    uint64_t handshake_id;
    GError *problem; // why the connection is about to be closed
    const QmpEvent *events;
    size_t n_events;
    QmpClosedFn closed;
    gpointer data;
};

typedef struct {
    uint64_t id;
    QmpClient *client;
    char *name;
    char *line;  // not sent yet, for the time of the handshake
    guint timer; // 0 once it has fired
    unsigned deadline_ms;
    bool answered; // its deadline passed: a late reply is swallowed
    QmpReplyFn reply;
    gpointer data;
    GDestroyNotify destroy;
} Command;

static void client_unref(QmpClient *client)
{
    if (--client->references)
        return;
    g_byte_array_unref(client->input);
    g_byte_array_unref(client->output);
    g_hash_table_unref(client->commands);
    g_clear_error(&client->problem);
    g_free(client);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, client_unref)

static QmpClient *client_ref(QmpClient *client)
{
    client->references++;
    return client;
}

static void drop_source(guint *source)
{
    if (*source)
        g_source_remove(*source);
    *source = 0;
}

static void command_free(gpointer pointer)
{
    Command *command = pointer;
    drop_source(&command->timer);
    if (command->destroy)
        command->destroy(command->data);
    g_free(command->name);
    g_free(command->line);
    g_free(command);
}

static void disconnect(QmpClient *client)
{
    drop_source(&client->readable);
    drop_source(&client->writable);
    drop_source(&client->failing);
    drop_source(&client->handshake_timer);
    hv_close_fd(&client->fd);
    client->state = STATE_CLOSED;
}

// --- the end of a connection ---

static void fail_command(QmpClient *client, Command *command)
{
    g_autoptr(GError) error =
        g_error_new(HV_ERROR, HV_ERROR_CLOSED, "%s: %s", command->name, client->problem->message);
    if (!command->answered && !client->freed)
        command->reply(NULL, error, command->data);
    command_free(command);
}

static gint compare_ids(gconstpointer a, gconstpointer b)
{
    const Command *first = a, *second = b;
    return first->id < second->id ? -1 : 1;
}

// In the order they were given; a command that a reply function gives now fails later, by itself.
static void fail_commands(QmpClient *client)
{
    GList *commands = g_list_sort(g_hash_table_get_values(client->commands), compare_ids);
    g_hash_table_steal_all(client->commands);
    for (GList *item = commands; item; item = item->next)
        fail_command(client, item->data);
    g_list_free(commands);
}

// Only from the main loop.
static void finish(QmpClient *client)
{
    g_autoptr(QmpClient) hold G_GNUC_UNUSED = client_ref(client);
    bool first = client->state != STATE_CLOSED;
    disconnect(client);
    fail_commands(client);
    if (first && !client->freed && client->closed)
        client->closed(client->problem, client->data);
}

static gboolean on_failing(gpointer pointer)
{
    QmpClient *client = pointer;
    client->failing = 0;
    finish(client);
    return G_SOURCE_REMOVE;
}

// Ends the connection from the main loop, soon. The first problem is the one that is told.
G_GNUC_PRINTF(2, 3)
static void fail_later(QmpClient *client, const char *format, ...)
{
    if (client->freed)
        return;
    va_list arguments;
    va_start(arguments, format);
    if (!client->problem)
        client->problem = g_error_new_valist(HV_ERROR, HV_ERROR_CLOSED, format, arguments);
    va_end(arguments);
    if (!client->failing)
        client->failing = g_idle_add_full(G_PRIORITY_DEFAULT, on_failing, client, NULL);
}

// --- sending ---

static bool flush_output(QmpClient *client);

static gboolean on_writable(gint fd, GIOCondition condition, gpointer pointer)
{
    (void)fd, (void)condition;
    QmpClient *client = pointer;
    if (!flush_output(client))
        return G_SOURCE_CONTINUE;
    client->writable = 0;
    return G_SOURCE_REMOVE;
}

// True where nothing is left to be written (also after a failure).
static bool flush_output(QmpClient *client)
{
    while (client->output->len) {
        ssize_t n = send(client->fd, client->output->data, client->output->len, MSG_NOSIGNAL);
        if (n >= 0) {
            g_byte_array_remove_range(client->output, 0, (guint)n);
        } else if (errno == EAGAIN) {
            return false;
        } else if (errno != EINTR) {
            // A peer that hung up may have said something before: the reader tells the end.
            if (errno != EPIPE && errno != ECONNRESET)
                fail_later(client, "cannot write to QEMU's monitor: %s", g_strerror(errno));
            g_byte_array_set_size(client->output, 0);
        }
    }
    return true;
}

static void send_line(QmpClient *client, const char *line)
{
    g_byte_array_append(client->output, (const guint8 *)line, (guint)strlen(line));
    if (!client->writable && !flush_output(client))
        client->writable = g_unix_fd_add(client->fd, G_IO_OUT, on_writable, client);
}

static gboolean on_deadline(gpointer pointer)
{
    Command *command = pointer;
    g_autoptr(QmpClient) hold G_GNUC_UNUSED = client_ref(command->client);
    command->timer = 0;
    command->answered = true;
    g_autoptr(GError) error =
        g_error_new(HV_ERROR, HV_ERROR_TIMEOUT, "%s: QEMU did not answer within %u ms",
                    command->name, command->deadline_ms);
    command->reply(NULL, error, command->data); // may free the client, and with it the command
    return G_SOURCE_REMOVE;
}

static Command *add_command(QmpClient *client, const char *name, QmpReplyFn reply, gpointer data,
                            GDestroyNotify destroy)
{
    Command *command = g_new0(Command, 1);
    command->id = client->next_id++;
    command->client = client;
    command->name = g_strdup(name);
    command->reply = reply;
    command->data = data;
    command->destroy = destroy;
    g_hash_table_insert(client->commands, &command->id, command);
    return command;
}

// Takes ARGUMENTS.
static char *format_line(const Command *command, json_t *arguments)
{
    g_autoptr(json_t) object =
        json_pack("{s:s, s:I}", "execute", command->name, "id", (json_int_t)command->id);
    if (arguments)
        json_object_set_new(object, "arguments", arguments);
    char *text = json_dumps(object, JSON_COMPACT);
    char *line = g_strconcat(text, "\n", NULL);
    free(text);
    return line;
}

void qmp_client_execute(QmpClient *client, const char *name, json_t *arguments,
                        unsigned deadline_ms, QmpReplyFn reply, gpointer data,
                        GDestroyNotify destroy)
{
    Command *command = add_command(client, name, reply, data, destroy);
    g_autofree char *line = format_line(command, arguments);
    command->deadline_ms = deadline_ms;
    if (client->state == STATE_CLOSED) {
        fail_later(client, "the connection to QEMU's monitor is closed");
        return;
    }
    command->timer = g_timeout_add(deadline_ms, on_deadline, command);
    if (client->state == STATE_READY)
        send_line(client, line);
    else
        command->line = g_steal_pointer(&line);
}

// --- the handshake ---

static void send_waiting(QmpClient *client)
{
    GList *commands = g_list_sort(g_hash_table_get_values(client->commands), compare_ids);
    for (GList *item = commands; item; item = item->next) {
        Command *command = item->data;
        if (!command->answered)
            send_line(client, command->line);
        g_clear_pointer(&command->line, g_free);
        if (command->answered) // its deadline passed before it was sent: no late reply
            g_hash_table_remove(client->commands, &command->id);
    }
    g_list_free(commands);
}

static void handle_greeting(QmpClient *client, json_t *message)
{
    if (!json_is_object(json_object_get(message, "QMP")))
        return fail_later(client, "QEMU's monitor did not greet as QMP does");
    client->state = STATE_NEGOTIATING;
    client->handshake_id = client->next_id++;
    g_autofree char *line = g_strdup_printf(
        "{\"execute\":\"qmp_capabilities\",\"id\":%" PRIu64 "}\n", client->handshake_id);
    send_line(client, line);
}

static void handle_negotiated(QmpClient *client, json_t *message)
{
    json_t *id = json_object_get(message, "id");
    if (!json_object_get(message, "return") ||
        (uint64_t)json_integer_value(id) != client->handshake_id)
        return fail_later(client, "QEMU's monitor refused the capabilities handshake");
    drop_source(&client->handshake_timer);
    client->state = STATE_READY;
    send_waiting(client);
}

// --- receiving ---

static GError *error_of_reply(const Command *command, json_t *problem)
{
    const char *text = json_string_value(json_object_get(problem, "desc"));
    return g_error_new(HV_ERROR, HV_ERROR_QMP, "%s: QEMU: %s", command->name,
                       text ? text : "unspecified error");
}

static void handle_reply(QmpClient *client, json_t *message)
{
    json_t *result = json_object_get(message, "return"),
           *problem = json_object_get(message, "error");
    json_t *id = json_object_get(message, "id");
    uint64_t number = (uint64_t)json_integer_value(id);
    Command *command = json_is_integer(id) ? g_hash_table_lookup(client->commands, &number) : NULL;
    if (!command || command->line)
        return fail_later(client, "QEMU's monitor answered a command that was not given");
    g_hash_table_steal(client->commands, &number);
    drop_source(&command->timer);
    g_autoptr(GError) error = result ? NULL : error_of_reply(command, problem);
    if (!command->answered)
        command->reply(result, error, command->data);
    command_free(command);
}

static int compare_event(const void *name, const void *entry)
{
    return strcmp(name, ((const QmpEvent *)entry)->name);
}

static void handle_event(QmpClient *client, const char *name, json_t *message)
{
    const QmpEvent *event = client->n_events ? bsearch(name, client->events, client->n_events,
                                                       sizeof *client->events, compare_event)
                                             : NULL;
    if (event)
        event->handler(json_object_get(message, "data"), client->data);
}

static void handle_message(QmpClient *client, json_t *message)
{
    const char *event = json_string_value(json_object_get(message, "event"));
    if (client->state == STATE_GREETING)
        handle_greeting(client, message);
    else if (event)
        handle_event(client, event, message);
    else if (!json_object_get(message, "return") && !json_object_get(message, "error"))
        fail_later(client, "QEMU's monitor sent something that is no QMP message");
    else if (client->state == STATE_NEGOTIATING)
        handle_negotiated(client, message);
    else
        handle_reply(client, message);
}

static void handle_line(QmpClient *client, const char *line, size_t length)
{
    g_autoptr(json_t) message = json_loadb(line, length, 0, NULL);
    if (json_is_object(message))
        handle_message(client, message);
    else
        fail_later(client, "QEMU's monitor sent a line that is no JSON object");
}

// The first complete line in the input, taken out of it; NULL where there is none.
static GBytes *take_line(QmpClient *client)
{
    guint8 *start = client->input->data;
    guint8 *newline =
        client->input->len > client->scanned
            ? memchr(start + client->scanned, '\n', client->input->len - client->scanned)
            : NULL;
    client->scanned = newline ? 0 : client->input->len;
    if (!newline)
        return NULL;
    size_t length = (size_t)(newline - start);
    GBytes *line = g_bytes_new(start, length);
    g_byte_array_remove_range(client->input, 0, (guint)length + 1);
    return line;
}

static void handle_lines(QmpClient *client)
{
    while (!client->freed && !client->problem) {
        g_autoptr(GBytes) line = take_line(client);
        if (!line)
            break;
        gsize length;
        const char *text = g_bytes_get_data(line, &length);
        if (length)
            handle_line(client, text ? text : "", length);
    }
    if (client->input->len > LINE_MAX_BYTES)
        fail_later(client, "QEMU's monitor sent a line longer than %d bytes", LINE_MAX_BYTES);
}

// False at the end of the stream.
static bool receive(QmpClient *client)
{
    guint before = client->input->len;
    g_byte_array_set_size(client->input, before + READ_CHUNK);
    ssize_t n = recv(client->fd, client->input->data + before, READ_CHUNK, MSG_DONTWAIT);
    int problem = n < 0 ? errno : 0;
    g_byte_array_set_size(client->input, before + (guint)MAX(n, 0));
    if (n == 0)
        fail_later(client, "QEMU closed its monitor");
    else if (problem && problem != EAGAIN && problem != EINTR)
        fail_later(client, "QEMU's monitor: %s", g_strerror(problem));
    return n > 0 || problem == EAGAIN || problem == EINTR;
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer pointer)
{
    (void)fd, (void)condition;
    g_autoptr(QmpClient) client = client_ref(pointer);
    bool open = receive(client);
    handle_lines(client);
    if (open && !client->problem && !client->freed)
        return G_SOURCE_CONTINUE;
    client->readable = 0;
    return G_SOURCE_REMOVE;
}

void qmp_client_drain(QmpClient *pointer)
{
    g_autoptr(QmpClient) client = client_ref(pointer);
    while (client->state != STATE_CLOSED && !client->problem) {
        guint before = client->input->len;
        bool more = receive(client) && client->input->len > before;
        handle_lines(client);
        if (!more)
            break;
    }
    if (client->freed || client->state == STATE_CLOSED)
        return;
    if (!client->problem)
        client->problem = g_error_new(HV_ERROR, HV_ERROR_CLOSED, "QEMU has ended");
    finish(client);
}

// --- life ---

static gboolean on_handshake_deadline(gpointer pointer)
{
    QmpClient *client = pointer;
    client->handshake_timer = 0;
    fail_later(client, "QEMU's monitor did not greet within %d s", QMP_HANDSHAKE_MS / 1000);
    return G_SOURCE_REMOVE;
}

QmpClient *qmp_client_new(int fd, const QmpEvent *events, size_t n_events, QmpClosedFn closed,
                          gpointer data)
{
    QmpClient *client = g_new0(QmpClient, 1);
    client->references = 1;
    client->fd = fd;
    client->events = events;
    client->n_events = n_events;
    client->closed = closed;
    client->data = data;
    client->next_id = 1;
    client->input = g_byte_array_new();
    client->output = g_byte_array_new();
    client->commands = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, command_free);
    (void)g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    client->readable = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, client);
    client->handshake_timer = g_timeout_add(QMP_HANDSHAKE_MS, on_handshake_deadline, client);
    return client;
}

void qmp_client_free(QmpClient *client)
{
    if (!client)
        return;
    client->freed = true;
    disconnect(client);
    g_hash_table_remove_all(client->commands);
    client_unref(client);
}
