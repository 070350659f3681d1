// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/http_source.h"

typedef struct {
    GSource base;
    struct MHD_Daemon *daemon;
    gpointer tag;
} HttpSource;

// -1: no timeout.
static int wait_ms(HttpSource *source)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (MHD_get_timeout(source->daemon, &ms) != MHD_YES)
        return -1;
    return (int)MIN(ms, G_MAXINT);
}

static gboolean prepare(GSource *base, int *timeout)
{
    *timeout = wait_ms((HttpSource *)base);
    return *timeout == 0;
}

static gboolean check(GSource *base)
{
    HttpSource *source = (HttpSource *)base;
    return g_source_query_unix_fd(base, source->tag) != 0 || wait_ms(source) == 0;
}

static gboolean dispatch(GSource *base, GSourceFunc function, gpointer data)
{
    (void)function;
    (void)data;
    g_source_set_ready_time(base, -1); // before: what is resumed while it runs comes next time
    MHD_run(((HttpSource *)base)->daemon);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs functions = {.prepare = prepare, .check = check, .dispatch = dispatch};

void http_source_run_soon(GSource *source)
{
    g_source_set_ready_time(source, 0);
}

GSource *http_source_new(struct MHD_Daemon *daemon)
{
    GSource *base = g_source_new(&functions, sizeof(HttpSource));
    HttpSource *source = (HttpSource *)base;
    int fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    source->daemon = daemon;
    source->tag = g_source_add_unix_fd(base, fd, G_IO_IN | G_IO_ERR | G_IO_HUP);
    g_source_set_static_name(base, "vmferry-http");
    g_source_attach(base, NULL);
    return base;
}
