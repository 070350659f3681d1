// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/ra_socket.h"

#include "agent/unix_listen.h"


#include <errno.h>
#include <glib-unix.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    OCF_ERR_ARGS = 2,
    MAX_REQUEST = 256 * 1024,
};

struct AgentRaSocket {
    Agent *agent;
    char *path;
    int fd;
    guint source;
    GHashTable *clients; // set of RaClient
};

// One connection. While the agent works on its request (BUSY) it stays until the reply, even when
// the socket it came by is gone; then OWNER is NULL and FD is -1.
typedef struct {
    AgentRaSocket *owner;
    int fd;
    guint source;
    bool busy;
} RaClient;

static void client_free(RaClient *client)
{
    if (client->owner != NULL)
        g_hash_table_remove(client->owner->clients, client);
    if (client->source != 0)
        g_source_remove(client->source);
    if (client->fd >= 0)
        close(client->fd);
    g_free(client);
}

// A resource agent that Pacemaker has killed meanwhile gets nothing; its successor asks again.
static void replied(int ocf, const char *message, gpointer data)
{
    RaClient *client = data;
    g_autofree char *valid = g_utf8_make_valid(message, -1); // it may hold QEMU's own words
    json_t *reply = json_pack("{s:i, s:s}", "ocf", ocf, "message", valid);
    char *text = json_dumps(reply, JSON_COMPACT);
    if (client->fd >= 0 && send(client->fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        g_debug("a resource agent did not wait for its answer: %s", g_strerror(errno));
    free(text);
    json_decref(reply);
    client_free(client);
}

static bool op_known(const char *op)
{
    static const char *const ops[] = {"start",        "stop",         "monitor",      "migrate_to",
                                      "migrate_from", "reload-agent", "validate-all", NULL};
    return g_strv_contains(ops, op);
}

static bool vm_name_safe(const char *name)
{
    return *name != '\0' && *name != '.' && strchr(name, '/') == NULL;
}

// REQUEST borrows from ROOT.
static bool request_parse(json_t *root, AgentRaRequest *request, GError **error)
{
    json_error_t problem;
    json_int_t timeout_ms = 0;
    int probe = 0;
    if (json_unpack_ex(root, &problem, JSON_STRICT, "{s:s, s:s, s?s, s?s, s:I, s?b}", "op",
                       &request->op, "vm", &request->vm, "definition", &request->definition, "peer",
                       &request->peer, "timeout_ms", &timeout_ms, "probe", &probe) < 0) {
        g_autofree char *why = g_utf8_make_valid(problem.text, -1); // a name in it may be cut
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID, "%s", why);
    } else if (!op_known(request->op))
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID, "op: \"%s\" is unknown", request->op);
    else if (!vm_name_safe(request->vm))
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID, "vm: \"%s\" is not a VM's name",
                    request->vm);
    else if (timeout_ms < 0 || timeout_ms > G_MAXUINT)
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID, "timeout_ms: out of range");
    else {
        request->timeout_ms = (unsigned)timeout_ms;
        request->probe = probe;
        return true;
    }
    return false;
}

static void serve(RaClient *client, const char *text, size_t length)
{
    g_autoptr(GError) error = NULL;
    json_error_t syntax;
    AgentRaRequest request = {0};
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &syntax);
    if (root == NULL)
        g_set_error(&error, AGENT_ERROR, AGENT_ERROR_INVALID, "not JSON: %s", syntax.text);
    client->busy = true;
    if (root != NULL && request_parse(root, &request, &error)) {
        agent_service_ra(client->owner->agent, &request, replied, client);
    } else {
        g_autofree char *message = g_strdup_printf(
            "vmferryd does not understand the resource agent (%s); are both of one release?",
            error->message);
        replied(OCF_ERR_ARGS, message, client);
    }
    json_decref(root);
}

static gboolean readable(int fd, GIOCondition condition, gpointer data)
{
    (void)condition;
    RaClient *client = data;
    g_autofree char *text = g_malloc(MAX_REQUEST);
    ssize_t length = recv(fd, text, MAX_REQUEST, MSG_DONTWAIT | MSG_TRUNC);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    client->source = 0;
    if (length <= 0)
        client_free(client);
    else if (length > MAX_REQUEST)
        replied(OCF_ERR_ARGS, "the request, and so the definition, is larger than 256 KiB", client);
    else
        serve(client, text, (size_t)length);
    return G_SOURCE_REMOVE;
}

static bool peer_is_root(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == 0;
}

static gboolean connected(int fd, GIOCondition condition, gpointer data)
{
    (void)condition;
    AgentRaSocket *self = data;
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (peer < 0)
        return G_SOURCE_CONTINUE;
    if (!peer_is_root(peer)) {
        g_warning("refused a connection to %s: only root may ask", self->path);
        close(peer);
        return G_SOURCE_CONTINUE;
    }
    RaClient *client = g_new(RaClient, 1);
    *client = (RaClient){.owner = self, .fd = peer};
    client->source = g_unix_fd_add(peer, G_IO_IN | G_IO_HUP | G_IO_ERR, readable, client);
    g_hash_table_add(self->clients, client);
    return G_SOURCE_CONTINUE;
}

static bool listen_on(AgentRaSocket *self, GError **error)
{
    int fd = agent_unix_listen(self->path, SOCK_SEQPACKET, error);
    if (fd < 0)
        return false;
    self->fd = fd;
    self->source = g_unix_fd_add(fd, G_IO_IN, connected, self);
    return true;
}

AgentRaSocket *agent_ra_socket_new(Agent *agent, const char *run_dir, GError **error)
{
    AgentRaSocket *self = g_new(AgentRaSocket, 1);
    *self = (AgentRaSocket){
        .agent = agent,
        .path = g_build_filename(run_dir, "ra.sock", NULL),
        .fd = -1,
        .clients = g_hash_table_new(NULL, NULL),
    };
    if (listen_on(self, error))
        return self;
    agent_ra_socket_free(self);
    return NULL;
}

static void client_abandon(RaClient *client)
{
    client->owner = NULL;
    if (!client->busy) {
        client_free(client);
        return;
    }
    close(client->fd);
    client->fd = -1;
}

void agent_ra_socket_free(AgentRaSocket *self)
{
    if (self == NULL)
        return;
    if (self->fd >= 0) {
        g_source_remove(self->source);
        unlink(self->path);
        close(self->fd);
    }
    GHashTableIter at;
    gpointer client;
    g_hash_table_iter_init(&at, self->clients);
    while (g_hash_table_iter_next(&at, &client, NULL)) {
        g_hash_table_iter_steal(&at);
        client_abandon(client);
    }
    g_hash_table_unref(self->clients);
    g_free(self->path);
    g_free(self);
}
