// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/agent/api_support.h"

#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_S = 20 };

// --- server ---

static void ignore_job(json_t *job, gpointer data)
{
    (void)job;
    (void)data;
}

static guint16 free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_no_errno(bind(fd, (struct sockaddr *)&address, sizeof address));
    g_assert_no_errno(getsockname(fd, (struct sockaddr *)&address, &length));
    close(fd);
    return ntohs(address.sin_port);
}

void server_start(Server *server)
{
    g_autoptr(GError) error = NULL;
    *server = (Server){.dir = g_dir_make_tmp("vmferry-api-XXXXXX", NULL), .port = free_port()};
    server->socket_path = g_build_filename(server->dir, "api.sock", NULL);
    server->token_path = g_build_filename(server->dir, "token", NULL);
    g_assert_true(g_file_set_contents_full(server->token_path, TEST_TOKEN "\n", -1,
                                           G_FILE_SET_CONTENTS_NONE, 0600, NULL));
    server->config.listen = g_new0(char *, 2);
    server->config.listen[0] = g_strdup_printf("127.0.0.1:%u", server->port);
    server->config.token_file = server->token_path;
    server->config.run_dir = server->dir;
    server->agent.events = agent_events_new("n1");
    server->agent.jobs = agent_jobs_new("n1", ignore_job, NULL);
    server->http = agent_http_new(&server->agent, &server->config, &error);
    g_assert_no_error(error);
}

void server_end(Server *server)
{
    g_clear_pointer(&server->http, agent_http_free);
}

void server_free(Server *server)
{
    server_end(server);
    agent_jobs_free(server->agent.jobs);
    agent_events_free(server->agent.events);
    g_clear_error(&server->agent.refuse);
    g_free(server->agent.asked);
    g_free(server->agent.console);
    g_unlink(server->token_path);
    g_assert_no_errno(g_rmdir(server->dir)); // nothing is left behind
    g_strfreev(server->config.listen);
    g_free(server->socket_path);
    g_free(server->token_path);
    g_free(server->dir);
}

// --- fake agent ---

AgentEvents *agent_events(Agent *agent)
{
    return agent->events;
}

AgentJobs *agent_jobs(Agent *agent)
{
    return agent->jobs;
}

json_t *agent_service_cluster(Agent *agent)
{
    (void)agent;
    return json_pack("{s:s, s:s}", "name", "lab", "local_node", "n1");
}

static bool has_joined(const Agent *agent, GError **error)
{
    if (!agent->apart)
        return true;
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_NOT_JOINED, "n1 has not joined the cluster yet");
    return false;
}

json_t *agent_service_nodes(Agent *agent, GError **error)
{
    if (!has_joined(agent, error))
        return NULL;
    return json_pack("[{s:s, s:n}, {s:s, s:s}]", "name", "n1", "address", "name", "n2", "address",
                     "10.77.0.12:7791");
}

json_t *agent_service_vms(Agent *agent, GError **error)
{
    if (!has_joined(agent, error))
        return NULL;
    return json_pack("[o, o]", agent_service_vm(agent, "here", NULL),
                     agent_service_vm(agent, "there", NULL));
}

json_t *agent_service_vm(Agent *agent, const char *name, GError **error)
{
    (void)agent;
    if (strcmp(name, "here") == 0 || strcmp(name, "there") == 0)
        return json_pack("{s:s, s:s}", "name", name, "node",
                         strcmp(name, "here") == 0 ? "n1" : "n2");
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_NOT_FOUND, "there is no VM \"%s\"", name);
    return NULL;
}

char *agent_service_console(Agent *agent, const char *name, GError **error)
{
    if (strcmp(name, "here") == 0)
        return g_strdup(agent->console);
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT, "%s runs on n2", name);
    return NULL;
}

static void note(Agent *agent, char *asked, AgentReplyFn reply, gpointer data)
{
    g_free(agent->asked);
    agent->asked = asked;
    agent->reply = reply;
    agent->reply_data = data;
    if (agent->later)
        return;
    json_t *result = json_pack("{s:s}", "job", "n1-7");
    agent->reply = NULL;
    reply(agent->refuse == NULL ? result : NULL, agent->refuse, data);
    json_decref(result);
}

void server_reply(Server *server)
{
    g_assert_nonnull(server->agent.reply);
    server->agent.later = false;
    note(&server->agent, g_strdup("replied"), server->agent.reply, server->agent.reply_data);
}

void agent_service_doctor(Agent *agent, AgentReplyFn reply, gpointer data)
{
    note(agent, g_strdup("doctor"), reply, data);
}

void agent_service_storage(Agent *agent, const char *action, const char *vm, const char *node,
                           AgentReplyFn reply, gpointer data)
{
    note(agent,
         g_strdup_printf("storage %s %s %s", action, vm != NULL ? vm : "-", node != NULL ? node : "-"),
         reply, data);
}

void agent_service_define(Agent *agent, const char *definition, size_t length, bool update,
                          bool start, AgentReplyFn reply, gpointer data)
{
    note(agent,
         g_strdup_printf("define %.*s update=%d start=%d", (int)length, definition, update, start),
         reply, data);
}

void agent_service_undefine(Agent *agent, const char *name, AgentReplyFn reply, gpointer data)
{
    note(agent, g_strdup_printf("undefine %s", name), reply, data);
}

void agent_service_start(Agent *agent, const char *name, AgentReplyFn reply, gpointer data)
{
    note(agent, g_strdup_printf("start %s", name), reply, data);
}

void agent_service_stop(Agent *agent, const char *name, const char *mode, AgentReplyFn reply,
                        gpointer data)
{
    note(agent, g_strdup_printf("stop %s %s", name, mode ? mode : "-"), reply, data);
}

void agent_service_save(Agent *agent, const char *name, AgentReplyFn reply, gpointer data)
{
    note(agent, g_strdup_printf("save %s", name), reply, data);
}

void agent_service_migrate(Agent *agent, const char *name, const char *to, AgentReplyFn reply,
                           gpointer data)
{
    note(agent, g_strdup_printf("migrate %s %s", name, to ? to : "-"), reply, data);
}

void agent_service_discard(Agent *agent, const char *name, AgentReplyFn reply, gpointer data)
{
    note(agent, g_strdup_printf("discard %s", name), reply, data);
}

void agent_service_standby(Agent *agent, const char *node, bool standby, AgentReplyFn reply,
                           gpointer data)
{
    note(agent, g_strdup_printf("standby %s %d", node, standby), reply, data);
}

// --- clients ---

static gboolean client_reads(int fd, GIOCondition condition, gpointer data)
{
    (void)condition;
    Client *client = data;
    char buffer[4096];
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got > 0) {
        g_string_append_len(client->in, buffer, got);
        return G_SOURCE_CONTINUE;
    }
    if (got < 0 && errno == EAGAIN)
        return G_SOURCE_CONTINUE;
    client->eof = true;
    client->source = 0;
    return G_SOURCE_REMOVE;
}

static Client *client_new(int fd)
{
    Client *client = g_new0(Client, 1);
    client->fd = fd;
    client->in = g_string_new(NULL);
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    client->source = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, client_reads, client);
    return client;
}

Client *client_unix(Server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, server->socket_path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_no_errno(connect(fd, (struct sockaddr *)&address, sizeof address));
    return client_new(fd);
}

Client *client_tcp(Server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(server->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_no_errno(connect(fd, (struct sockaddr *)&address, sizeof address));
    return client_new(fd);
}

void client_free(Client *client)
{
    g_clear_handle_id(&client->source, g_source_remove);
    close(client->fd);
    g_string_free(client->in, TRUE);
    g_free(client);
}

static gboolean wake(gpointer data)
{
    (void)data;
    return G_SOURCE_CONTINUE;
}

static void iterate(gint64 end, const char *waits_for, const Client *client)
{
    if (g_get_monotonic_time() > end)
        g_error("waited in vain for %s; there is:\n%s", waits_for,
                client != NULL ? client->in->str : "");
    // No fixed sleep: the loop wakes for whatever comes, the timer only for the end of patience.
    guint timer = g_timeout_add_seconds(PATIENCE_S, wake, NULL);
    g_main_context_iteration(NULL, TRUE);
    g_source_remove(timer);
}

static gint64 patience(void)
{
    return g_get_monotonic_time() + PATIENCE_S * G_USEC_PER_SEC;
}

void client_send(Client *client, const char *data, gsize length)
{
    gint64 end = patience();
    while (length > 0) {
        ssize_t sent = send(client->fd, data, length, MSG_NOSIGNAL);
        g_assert_true(sent >= 0 || errno == EAGAIN);
        data += MAX(sent, 0);
        length -= (gsize)MAX(sent, 0);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_main_context_iteration(NULL, FALSE); // the server reads
    }
}

void client_say(Client *client, const char *text)
{
    client_send(client, text, strlen(text));
}

void client_ask(Client *client, const char *method, const char *path, const char *headers,
                const char *body)
{
    g_autoptr(GString) request = g_string_new(NULL);
    g_string_append_printf(request, "%s %s HTTP/1.1\r\nHost: test\r\n%s", method, path, headers);
    if (body != NULL)
        g_string_append_printf(request, "Content-Length: %zu\r\n", strlen(body));
    g_string_append(request, "\r\n");
    g_string_append(request, body != NULL ? body : "");
    client_send(client, request->str, request->len);
}

void client_expect(Client *client, const char *text)
{
    gint64 end = patience();
    while (strstr(client->in->str, text) == NULL)
        iterate(end, text, client);
}

void client_expect_eof(Client *client)
{
    gint64 end = patience();
    while (!client->eof)
        iterate(end, "the connection's end", client);
}

void expect_set(gpointer *flag)
{
    gint64 end = patience();
    while (*flag == NULL)
        iterate(end, "a flag", NULL);
}

unsigned client_status(Client *client)
{
    unsigned status = 0;
    if (sscanf(client->in->str, "HTTP/1.1 %u ", &status) != 1)
        g_error("no answer: %s", client->in->str);
    return status;
}

json_t *client_body(Client *client)
{
    const char *end = strstr(client->in->str, "\r\n\r\n");
    g_assert_nonnull(end);
    json_t *body = json_loads(end + 4, 0, NULL);
    if (body == NULL)
        g_error("no JSON: %s", client->in->str);
    return body;
}

unsigned ask(Server *server, const char *method, const char *path, const char *body,
             json_t **answer)
{
    g_autoptr(Client) client = client_unix(server);
    client_ask(client, method, path, "Connection: close\r\n", body);
    client_expect_eof(client);
    json_t *found = client_body(client);
    g_assert_nonnull(strstr(client->in->str, "Content-Type: application/json\r\n"));
    if (answer != NULL)
        *answer = json_incref(found);
    json_decref(found);
    return client_status(client);
}

static void set_up(Server *server, gconstpointer data)
{
    (void)data;
    server_start(server);
}

static void tear_down(Server *server, gconstpointer data)
{
    (void)data;
    server_free(server);
}

void server_test(const char *path, void (*function)(Server *server, gconstpointer data))
{
    g_test_add(path, Server, NULL, set_up, function, tear_down);
}

static gboolean set_true(gpointer flag)
{
    *(bool *)flag = true;
    return G_SOURCE_REMOVE;
}

guint loop_iterations(guint ms)
{
    bool over = false;
    guint count = 0;
    g_timeout_add(ms, set_true, &over);
    while (!over) {
        g_main_context_iteration(NULL, TRUE);
        count++;
    }
    return count;
}
