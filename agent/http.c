// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/http.h"

#include "agent/api_console.h"
#include "agent/api_events.h"
#include "agent/http_listen.h"
#include "agent/unix_listen.h"
#include "agent/http_request.h"
#include "agent/http_source.h"
#include "agent/http_token.h"

#include <unistd.h>

enum { CONNECTIONS = 256 };

static void G_GNUC_PRINTF(2, 0) log_debug(void *data, const char *format, va_list arguments)
{
    (void)data;
    g_logv(G_LOG_DOMAIN, G_LOG_LEVEL_DEBUG, format, arguments);
}

// Takes FD, also on failure.
static struct MHD_Daemon *start(HttpDoor *door, int fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG, 0, NULL,
        NULL, http_request_handle, door, MHD_OPTION_EXTERNAL_LOGGER, log_debug, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)AGENT_HTTP_TIMEOUT_S, MHD_OPTION_NOTIFY_COMPLETED,
        http_request_completed, NULL, MHD_OPTION_END);
}

// Takes FD; -1: ERROR is set already.
static bool open_door(AgentHttp *http, int fd, bool local, GError **error)
{
    if (fd < 0)
        return false;
    HttpDoor *door = g_new0(HttpDoor, 1);
    *door = (HttpDoor){.http = http, .local = local};
    door->daemon = start(door, fd);
    if (door->daemon == NULL) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_FAILED,
                    "libmicrohttpd %s cannot be started; was it built with epoll and upgrade?",
                    MHD_get_version());
        g_free(door);
        return false;
    }
    door->source = http_source_new(door->daemon);
    g_ptr_array_add(http->doors, door);
    return true;
}

static void close_door(gpointer data)
{
    HttpDoor *door = data;
    g_source_destroy(door->source);
    g_source_unref(door->source);
    MHD_stop_daemon(door->daemon);
    g_free(door);
}

static bool open_doors(AgentHttp *http, const AgentConfig *config, GError **error)
{
    g_autofree char *path = g_build_filename(config->run_dir, "api.sock", NULL);
    if (!open_door(http, agent_unix_listen(path, SOCK_STREAM, error), true, error))
        return false;
    http->socket_path = g_steal_pointer(&path);
    if (config->listen[0] != NULL) {
        http->token = http_token_load(config->token_file, error);
        if (http->token == NULL)
            return false;
    }
    for (char **address = config->listen; *address != NULL; address++)
        if (!open_door(http, http_listen_tcp(*address, error), false, error))
            return false;
    return true;
}

AgentHttp *agent_http_new(Agent *agent, const AgentConfig *config, GError **error)
{
    g_autoptr(AgentHttp) http = g_new0(AgentHttp, 1);
    http->agent = agent;
    http->doors = g_ptr_array_new_with_free_func(close_door);
    return open_doors(http, config, error) ? g_steal_pointer(&http) : NULL;
}

// libmicrohttpd does not stop while connections are suspended or upgraded.
void agent_http_free(AgentHttp *http)
{
    if (http == NULL)
        return;
    http->ending = true;
    api_events_close_all(http);
    api_console_close_all(http);
    while (http->waiting != NULL)
        http_request_abandon(http->waiting->data);
    g_ptr_array_unref(http->doors);
    if (http->socket_path != NULL)
        unlink(http->socket_path);
    g_free(http->socket_path);
    g_free(http->token);
    g_free(http);
}
