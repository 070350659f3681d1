// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/api_console.h"

#include "agent/api_error.h"
#include "agent/api_shuttle.h"
#include "agent/http_source.h"
#include "hvcore/unix_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROTOCOL "vmferry-console"

// From the request on; it is upgraded when the "101" has gone out.
typedef struct {
    AgentHttp *http;
    HttpDoor *door;
    int fd; // QEMU's side
    ApiShuttle *shuttle;
    struct MHD_UpgradeResponseHandle *upgraded;
} ApiConsole;

static int connect_to(const char *path, GError **error)
{
    g_autoptr(GError) problem = NULL;
    int fd = hv_unix_connect(path, &problem);
    if (fd < 0)
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                    "the console's %s; does the VM still run?", problem->message);
    return fd;
}

// --- the upgraded connection ---

// A client whose machine lost its power says nothing, and is not missed as long as the guest writes
// nothing. (On the unix socket these options do not exist, and need not.)
static void notice_a_lost_client(int fd)
{
    enum { PROBES = 3 };
    const int idle_s = API_CONSOLE_SILENCE_S / 2, interval_s = idle_s / PROBES;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){PROBES}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(int){API_CONSOLE_SILENCE_S * 1000}, sizeof(int));
}

static void console_end(ApiConsole *console)
{
    console->http->consoles = g_list_remove(console->http->consoles, console);
    api_shuttle_free(console->shuttle);
    close(console->fd);
    MHD_upgrade_action(console->upgraded, MHD_UPGRADE_ACTION_CLOSE);
    http_source_run_soon(console->door->source);
    g_free(console);
}

static void shuttle_ended(gpointer data)
{
    console_end(data);
}

static void upgraded(void *data, struct MHD_Connection *connection, void *context,
                     const char *extra, size_t extra_size, MHD_socket socket,
                     struct MHD_UpgradeResponseHandle *handle)
{
    (void)connection;
    HttpRequest *request = context;
    ApiConsole *console = data;
    request->gone = NULL;
    notice_a_lost_client(socket);
    console->upgraded = handle;
    console->http->consoles = g_list_prepend(console->http->consoles, console);
    console->shuttle =
        api_shuttle_new(socket, console->fd, extra, extra_size, shuttle_ended, console);
}

void api_console_close_all(AgentHttp *http)
{
    while (http->consoles != NULL)
        console_end(http->consoles->data);
}

// --- the request ---

static void console_unused(gpointer data)
{
    ApiConsole *console = data;
    close(console->fd);
    g_free(console);
}

// The client's own agent's address is of no use for a VM elsewhere: it is told the right one.
static void add_owner(Agent *agent, const char *name, json_t *problem)
{
    json_t *vm = agent_service_vm(agent, name, NULL);
    json_t *cluster = agent_service_cluster(agent);
    json_t *nodes = agent_service_nodes(agent, NULL);
    const char *owner = json_string_value(json_object_get(vm, "node"));
    const char *local = json_string_value(json_object_get(cluster, "local_node"));
    size_t index;
    json_t *node;
    json_array_foreach (nodes, index, node) {
        const char *found = json_string_value(json_object_get(node, "name"));
        if (owner == NULL || g_strcmp0(owner, local) == 0 || g_strcmp0(owner, found) != 0)
            continue;
        json_t *address = json_object_get(node, "address");
        json_object_set_new(problem, "node", json_string(owner));
        json_object_set_new(problem, "address",
                            address != NULL ? json_incref(address) : json_null());
    }
    json_decref(nodes);
    json_decref(cluster);
    json_decref(vm);
}

static void answer_error(HttpRequest *request, const char *name, const GError *error)
{
    json_t *body = api_error_json(api_error_code(error), error->message);
    if (g_error_matches(error, AGENT_ERROR, AGENT_ERROR_CONFLICT))
        add_owner(request->http->agent, name, json_object_get(body, "error"));
    http_answer_json(request, api_error_status(error), body);
}

static bool has_token(const char *header, const char *token)
{
    g_auto(GStrv) parts = g_strsplit(header != NULL ? header : "", ",", -1);
    for (char **part = parts; *part != NULL; part++)
        if (g_ascii_strcasecmp(g_strstrip(*part), token) == 0)
            return true;
    return false;
}

static bool check_upgrade(HttpRequest *request, GError **error)
{
    if (has_token(http_request_header(request, "Upgrade"), PROTOCOL) &&
        has_token(http_request_header(request, "Connection"), "Upgrade"))
        return true;
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                "a console needs the headers \"Upgrade: " PROTOCOL "\" and \"Connection: "
                "Upgrade\"");
    return false;
}

void api_get_console(HttpRequest *request, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;
    int fd = -1;
    if (check_upgrade(request, &error))
        path = agent_service_console(request->http->agent, name, &error);
    if (path != NULL)
        fd = connect_to(path, &error);
    if (fd < 0) {
        answer_error(request, name, error);
        return;
    }
    ApiConsole *console = g_new0(ApiConsole, 1);
    *console = (ApiConsole){.http = request->http, .door = request->door, .fd = fd};
    request->gone = console_unused;
    request->gone_data = console;
    struct MHD_Response *response = MHD_create_response_for_upgrade(upgraded, console);
    MHD_add_response_header(response, "Upgrade", PROTOCOL);
    http_answer(request, MHD_HTTP_SWITCHING_PROTOCOLS, response);
}
