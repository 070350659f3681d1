// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/api_shuttle.h"

#include <errno.h>
#include <glib-unix.h>
#include <stdbool.h>
#include <sys/socket.h>

enum { BUFFER = 64 * 1024 };

// One direction.
typedef struct {
    int from, to;
    GByteArray *buffer; // read, not yet written
    bool eof;           // FROM says no more
} Lane;

struct ApiShuttle {
    GSource base;
    Lane to_console, to_client;
    gpointer client_tag, console_tag; // NULL: not waited for
    void (*ended)(gpointer data);
    gpointer data;
};

static bool retry_later(void)
{
    return errno == EAGAIN || errno == EINTR;
}

// False: the way is broken.
static bool fill(Lane *lane)
{
    guint8 bytes[4096];
    while (!lane->eof && lane->buffer->len < BUFFER) {
        ssize_t got = recv(lane->from, bytes, MIN(sizeof bytes, BUFFER - lane->buffer->len), 0);
        if (got < 0)
            return retry_later();
        lane->eof = got == 0;
        g_byte_array_append(lane->buffer, bytes, (guint)got);
    }
    return true;
}

static bool drain(Lane *lane)
{
    while (lane->buffer->len > 0) {
        ssize_t sent = send(lane->to, lane->buffer->data, lane->buffer->len, MSG_NOSIGNAL);
        if (sent < 0)
            return retry_later();
        g_byte_array_remove_range(lane->buffer, 0, (guint)sent);
    }
    return true;
}

static bool carry(Lane *lane)
{
    return fill(lane) && drain(lane);
}

static bool wants_more(const Lane *lane)
{
    return !lane->eof && lane->buffer->len < BUFFER;
}

// A socket that is not read or written now is not waited for at all: its hang-up would wake the
// loop without end.
static void wait_for(ApiShuttle *shuttle, gpointer *tag, const Lane *in, const Lane *out)
{
    GIOCondition condition = 0;
    if (wants_more(in))
        condition |= G_IO_IN;
    if (out->buffer->len > 0)
        condition |= G_IO_OUT;
    if (*tag != NULL && condition != 0)
        g_source_modify_unix_fd(&shuttle->base, *tag, condition);
    else if (*tag != NULL)
        g_source_remove_unix_fd(&shuttle->base, g_steal_pointer(tag));
    else if (condition != 0)
        *tag = g_source_add_unix_fd(&shuttle->base, in->from, condition);
}

static void wait_for_both(ApiShuttle *shuttle)
{
    wait_for(shuttle, &shuttle->client_tag, &shuttle->to_console, &shuttle->to_client);
    wait_for(shuttle, &shuttle->console_tag, &shuttle->to_client, &shuttle->to_console);
}

static bool over(const ApiShuttle *shuttle)
{
    return shuttle->to_console.eof ||
           (shuttle->to_client.eof && shuttle->to_client.buffer->len == 0);
}

static gboolean dispatch(GSource *base, GSourceFunc function, gpointer data)
{
    (void)function;
    (void)data;
    ApiShuttle *shuttle = (ApiShuttle *)base;
    bool good = carry(&shuttle->to_client) && carry(&shuttle->to_console);
    if (!good || over(shuttle)) {
        shuttle->ended(shuttle->data);
        return G_SOURCE_REMOVE;
    }
    wait_for_both(shuttle);
    return G_SOURCE_CONTINUE;
}

static void finalize(GSource *base)
{
    ApiShuttle *shuttle = (ApiShuttle *)base;
    g_byte_array_unref(shuttle->to_console.buffer);
    g_byte_array_unref(shuttle->to_client.buffer);
}

static GSourceFuncs functions = {.dispatch = dispatch, .finalize = finalize};

ApiShuttle *api_shuttle_new(int client, int console, const char *extra, gsize extra_size,
                            void (*ended)(gpointer data), gpointer data)
{
    GSource *base = g_source_new(&functions, sizeof(ApiShuttle));
    ApiShuttle *shuttle = (ApiShuttle *)base;
    shuttle->to_console = (Lane){.from = client, .to = console, .buffer = g_byte_array_new()};
    shuttle->to_client = (Lane){.from = console, .to = client, .buffer = g_byte_array_new()};
    shuttle->ended = ended;
    shuttle->data = data;
    g_byte_array_append(shuttle->to_console.buffer, (const guint8 *)extra, (guint)extra_size);
    g_unix_set_fd_nonblocking(client, TRUE, NULL);
    g_unix_set_fd_nonblocking(console, TRUE, NULL);
    wait_for_both(shuttle);
    g_source_set_static_name(base, "vmferry-console");
    g_source_attach(base, NULL);
    return shuttle;
}

void api_shuttle_free(ApiShuttle *shuttle)
{
    g_source_destroy(&shuttle->base);
    g_source_unref(&shuttle->base);
}
