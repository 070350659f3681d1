// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/api_events.h"

#include "agent/http_source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BEHIND_MAX = 1024 * 1024, BLOCK = 16 * 1024 };

typedef struct {
    AgentHttp *http;
    HttpDoor *door;
    struct MHD_Connection *connection;
    GString *out; // not yet taken by libmicrohttpd
    gsize limit;  // of OUT: what was asked for at the start, and what a client may be behind
    guint follower;
    guint timer;
    bool suspended;
    bool ended;
} ApiStream;

static void wake(ApiStream *stream)
{
    if (!stream->suspended)
        return;
    stream->suspended = false;
    MHD_resume_connection(stream->connection);
    http_source_run_soon(stream->door->source);
}

// A client that does not read would hold its connection for ever: libmicrohttpd waits for the
// socket and does not ask for more.
static void cut(ApiStream *stream)
{
    if (stream->ended)
        return;
    stream->ended = true;
    g_string_truncate(stream->out, 0);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(stream->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL)
        (void)shutdown(info->connect_fd, SHUT_RDWR);
    wake(stream);
}

static void append_event(ApiStream *stream, json_t *event)
{
    char *text = json_dumps(event, JSON_COMPACT);
    g_string_append_printf(stream->out, "id: %" JSON_INTEGER_FORMAT "\nevent: %s\ndata: %s\n\n",
                           json_integer_value(json_object_get(event, "id")),
                           json_string_value(json_object_get(event, "type")), text);
    free(text);
}

static void follow(json_t *event, gpointer data)
{
    ApiStream *stream = data;
    if (stream->ended)
        return;
    append_event(stream, event);
    if (stream->out->len > stream->limit) {
        g_info("a client that follows events is 1 MiB behind; it is cut");
        cut(stream);
    }
    wake(stream);
}

// Also finds clients that are gone without a word.
static gboolean keep_alive(gpointer data)
{
    ApiStream *stream = data;
    if (!stream->ended && stream->out->len == 0)
        g_string_append(stream->out, ": keep-alive\n\n");
    wake(stream);
    return G_SOURCE_CONTINUE;
}

static ssize_t read_stream(void *data, uint64_t position, char *buffer, size_t size)
{
    (void)position;
    ApiStream *stream = data;
    if (stream->ended)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (stream->out->len == 0) {
        stream->suspended = true;
        MHD_suspend_connection(stream->connection);
        return 0;
    }
    size_t length = MIN(size, stream->out->len);
    memcpy(buffer, stream->out->str, length);
    g_string_erase(stream->out, 0, (gssize)length);
    return (ssize_t)length;
}

static void stream_free(void *data)
{
    ApiStream *stream = data;
    stream->http->streams = g_list_remove(stream->http->streams, stream);
    agent_events_unfollow(agent_events(stream->http->agent), stream->follower);
    g_source_remove(stream->timer);
    g_string_free(stream->out, TRUE);
    g_free(stream);
}

static ApiStream *stream_new(HttpRequest *request, json_t *backlog)
{
    ApiStream *stream = g_new0(ApiStream, 1);
    stream->http = request->http;
    stream->door = request->door;
    stream->connection = request->connection;
    stream->out = g_string_new(": vmferry's events\n\n"); // sends the header on its way, too
    size_t index;
    json_t *event;
    json_array_foreach (backlog, index, event)
        append_event(stream, event);
    stream->limit = stream->out->len + BEHIND_MAX;
    stream->follower = agent_events_follow(agent_events(request->http->agent), follow, stream);
    stream->timer = g_timeout_add_seconds(API_EVENTS_KEEP_ALIVE_S, keep_alive, stream);
    request->http->streams = g_list_prepend(request->http->streams, stream);
    return stream;
}

static void answer_stream(HttpRequest *request, json_t *backlog)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK, read_stream, stream_new(request, backlog), stream_free);
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_set_connection_option(request->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
    http_answer(request, MHD_HTTP_OK, response);
}

// False: what stands there is no event's id. *SINCE stays as it is where nothing is asked for.
static bool read_since(const char *text, json_int_t *since)
{
    gint64 value;
    if (text == NULL)
        return true;
    if (!g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, &value, NULL))
        return false;
    *since = value;
    return true;
}

static bool wants_stream(HttpRequest *request)
{
    const char *accept = http_request_header(request, "Accept");
    return accept != NULL && strstr(accept, "text/event-stream") != NULL;
}

// A stream that comes back (Last-Event-ID) goes on where it was; one that does not say where to
// begin begins now.
void api_get_events(HttpRequest *request, const char *name)
{
    (void)name;
    bool stream = wants_stream(request);
    json_int_t since = stream ? G_MAXINT64 : 0;
    if (!read_since(http_request_argument(request, "since"), &since) ||
        (stream && !read_since(http_request_header(request, "Last-Event-ID"), &since))) {
        http_answer_problem(request, MHD_HTTP_BAD_REQUEST, "invalid",
                            "since and Last-Event-ID are an event's id, a number");
        return;
    }
    json_t *events = agent_events_since(agent_events(request->http->agent), since);
    if (!stream) {
        http_answer_json(request, MHD_HTTP_OK, events);
        return;
    }
    answer_stream(request, events);
    json_decref(events);
}

void api_events_close_all(AgentHttp *http)
{
    for (GList *item = http->streams; item != NULL; item = item->next)
        cut(item->data);
}
