// SPDX-License-Identifier: GPL-2.0-or-later
// A VM's console through the API; an echo server plays QEMU.
#include "tests/agent/api_support.h"

#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define UPGRADE "Upgrade: vmferry-console\r\nConnection: Upgrade\r\n"

// QEMU's side: one connection, whose bytes are kept and, where ECHO, sent back.
typedef struct {
    int listen_fd;
    int fd; // -1: nobody is connected
    GString *in;
    bool echo;
    bool eof;
} Qemu;

static void say(int fd, const char *data, gsize length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        g_assert_true(sent > 0 || errno == EAGAIN);
        data += MAX(sent, 0);
        length -= (gsize)MAX(sent, 0);
        if (sent < 0)
            g_main_context_iteration(NULL, FALSE); // the server reads
    }
}

static gboolean qemu_reads(int fd, GIOCondition condition, gpointer data)
{
    (void)condition;
    Qemu *qemu = data;
    char buffer[1000];
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    qemu->eof = got <= 0;
    if (qemu->eof)
        return G_SOURCE_REMOVE;
    g_string_append_len(qemu->in, buffer, got);
    if (qemu->echo)
        say(fd, buffer, (gsize)got);
    return G_SOURCE_CONTINUE;
}

static gboolean qemu_accepts(int fd, GIOCondition condition, gpointer data)
{
    (void)condition;
    Qemu *qemu = data;
    qemu->fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    g_assert_cmpint(qemu->fd, >=, 0);
    g_unix_fd_add(qemu->fd, G_IO_IN | G_IO_HUP, qemu_reads, qemu);
    return G_SOURCE_REMOVE;
}

static void qemu_start(Qemu *qemu, Server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    server->agent.console = g_build_filename(server->dir, "console.sock", NULL);
    g_strlcpy(address.sun_path, server->agent.console, sizeof address.sun_path);
    *qemu = (Qemu){.fd = -1, .in = g_string_new(NULL), .echo = true};
    qemu->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_no_errno(bind(qemu->listen_fd, (struct sockaddr *)&address, sizeof address));
    g_assert_no_errno(listen(qemu->listen_fd, 1));
    g_unix_fd_add(qemu->listen_fd, G_IO_IN, qemu_accepts, qemu);
}

static void qemu_hang_up(Qemu *qemu)
{
    (void)g_source_remove_by_user_data(qemu); // gone already where the other side hung up
    if (qemu->fd >= 0)
        close(qemu->fd);
    qemu->fd = -1;
}

static void qemu_end(Qemu *qemu, Server *server)
{
    qemu_hang_up(qemu);
    close(qemu->listen_fd);
    g_string_free(qemu->in, TRUE);
    g_unlink(server->agent.console);
}

static void until(bool *flag)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (!*flag) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_main_context_iteration(NULL, FALSE);
    }
}

static void expect_upgrade(Client *client)
{
    client_expect(client, "\r\n\r\n");
    g_assert_cmpuint(client_status(client), ==, 101);
    g_assert_nonnull(strstr(client->in->str, "\r\nUpgrade: vmferry-console\r\n"));
}

// Over the unix socket: without a token.
static void upgrade(Client *client)
{
    client_ask(client, "GET", "/v1/vms/here/console", UPGRADE, NULL);
    expect_upgrade(client);
}

static void test_echo(Server *server, gconstpointer data)
{
    (void)data;
    Qemu qemu;
    qemu_start(&qemu, server);
    g_autoptr(Client) client = client_tcp(server);
    client_ask(client, "GET", "/v1/vms/here/console", UPGRADE TEST_AUTHORIZATION, NULL);
    expect_upgrade(client);
    client_say(client, "root\n");
    client_expect(client, "root\n");
    client_say(client, "\x03\xff\n");
    client_expect(client, "\x03\xff\n");
    g_assert_cmpuint(ask(server, "GET", "/v1/cluster", NULL, NULL), ==, 200);
    qemu_end(&qemu, server);
}

// proc(5), net/tcp: an established connection of PORT, and whether a timer other than for what is
// unacknowledged runs: keepalive.
static bool keeps_alive(guint16 port)
{
    g_autofree char *text = NULL;
    g_autofree char *pattern =
        g_strdup_printf(": 0100007F:%04X [0-9A-F:]+ 01 [0-9A-F:]+ 02:", port);
    g_assert_true(g_file_get_contents("/proc/net/tcp", &text, NULL, NULL));
    return g_regex_match_simple(pattern, text, 0, 0);
}

static void test_lost_client_is_noticed(Server *server, gconstpointer data)
{
    (void)data;
    Qemu qemu;
    qemu_start(&qemu, server);
    g_autoptr(Client) client = client_tcp(server);
    client_ask(client, "GET", "/v1/vms/here/console", UPGRADE TEST_AUTHORIZATION, NULL);
    expect_upgrade(client);
    client_say(client, "root\n");
    client_expect(client, "root\n");
    for (int i = 0; i < 500 && !keeps_alive(server->port); i++)
        g_usleep(10 * 1000);
    g_assert_true(keeps_alive(server->port));
    qemu_end(&qemu, server);
}

// What is typed before the answer is there is not lost.
static void test_eager(Server *server, gconstpointer data)
{
    (void)data;
    Qemu qemu;
    qemu_start(&qemu, server);
    g_autoptr(Client) client = client_unix(server);
    client_say(client, "GET /v1/vms/here/console HTTP/1.1\r\nHost: t\r\n" UPGRADE "\r\neager\n");
    client_expect(client, "\r\n\r\neager\n");
    qemu_end(&qemu, server);
}

// Far more than all buffers hold, both ways: nothing is lost, nothing is out of order.
static void test_much(Server *server, gconstpointer data)
{
    (void)data;
    enum { SIZE = 3 * 1024 * 1024 };
    Qemu qemu;
    qemu_start(&qemu, server);
    qemu.echo = false;
    g_autoptr(Client) client = client_unix(server);
    upgrade(client);
    while (qemu.fd < 0)
        g_main_context_iteration(NULL, TRUE);
    gsize head = client->in->len;
    g_autofree char *much = g_malloc(SIZE);
    for (gsize i = 0; i < SIZE; i++)
        much[i] = (char)(i * 7 + i / 256);
    say(qemu.fd, much, SIZE);
    client_send(client, much, SIZE);
    while (qemu.in->len < SIZE)
        g_main_context_iteration(NULL, TRUE);
    qemu_hang_up(&qemu); // what it said still arrives
    client_expect_eof(client);
    g_assert_cmpuint(client->in->len - head, ==, SIZE);
    g_assert_cmpmem(client->in->str + head, SIZE, much, SIZE);
    g_assert_cmpuint(qemu.in->len, ==, SIZE);
    g_assert_cmpmem(qemu.in->str, SIZE, much, SIZE);
    qemu_end(&qemu, server);
}

// A client that does not read holds QEMU up; the server neither buffers on nor spins, whoever hangs
// up first.
static void test_stuck(Server *server, gconstpointer data)
{
    (void)data;
    Qemu qemu;
    qemu_start(&qemu, server);
    g_autoptr(Client) client = client_unix(server);
    upgrade(client);
    while (qemu.fd < 0)
        g_main_context_iteration(NULL, TRUE);
    g_clear_handle_id(&client->source, g_source_remove);
    gsize sent = 0;
    char bytes[4096] = {0};
    for (guint refused = 0; refused < 20;) { // the server had its turn, and took nothing
        ssize_t now = send(qemu.fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        sent += (gsize)MAX(now, 0);
        refused = now > 0 ? 0 : refused + 1;
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(sent, <, 2 * 1024 * 1024);
    g_assert_cmpuint(loop_iterations(200), <=, 10);
    qemu_hang_up(&qemu);
    g_assert_cmpuint(loop_iterations(200), <=, 10);
    g_assert_cmpuint(ask(server, "GET", "/v1/cluster", NULL, NULL), ==, 200);
    qemu_end(&qemu, server);
}

static void test_client_leaves(Server *server, gconstpointer data)
{
    (void)data;
    Qemu qemu;
    qemu_start(&qemu, server);
    Client *client = client_unix(server);
    upgrade(client);
    client_free(client);
    until(&qemu.eof); // the next one can have the console
    g_assert_cmpuint(ask(server, "GET", "/v1/cluster", NULL, NULL), ==, 200);
    qemu_end(&qemu, server);
}

static void test_server_ends(Server *server, gconstpointer data)
{
    (void)data;
    Qemu qemu;
    qemu_start(&qemu, server);
    g_autoptr(Client) client = client_unix(server);
    upgrade(client);
    server_end(server);
    client_expect_eof(client);
    until(&qemu.eof);
    qemu_end(&qemu, server);
}

static void test_elsewhere(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) client = client_unix(server);
    client_ask(client, "GET", "/v1/vms/there/console", UPGRADE, NULL);
    client_expect(client, "}}");
    g_assert_cmpuint(client_status(client), ==, 409);
    json_t *body = client_body(client);
    json_t *error = json_object_get(body, "error");
    g_assert_cmpstr(json_string_value(json_object_get(error, "code")), ==, "conflict");
    g_assert_cmpstr(json_string_value(json_object_get(error, "node")), ==, "n2");
    g_assert_cmpstr(json_string_value(json_object_get(error, "address")), ==, "10.77.0.12:7791");
    json_decref(body);
}

static void test_nobody_there(Server *server, gconstpointer data)
{
    (void)data;
    server->agent.console = g_build_filename(server->dir, "missing.sock", NULL);
    g_autoptr(Client) client = client_unix(server);
    client_ask(client, "GET", "/v1/vms/here/console", UPGRADE, NULL);
    client_expect(client, "}}");
    g_assert_cmpuint(client_status(client), ==, 503);
    g_assert_nonnull(strstr(client->in->str, "missing.sock"));
}

static void test_not_allowed(Server *server, gconstpointer data)
{
    (void)data;
    Qemu qemu;
    qemu_start(&qemu, server);
    g_autoptr(Client) client = client_tcp(server);
    client_ask(client, "GET", "/v1/vms/here/console", UPGRADE, NULL);
    client_expect(client, "}}");
    g_assert_cmpuint(client_status(client), ==, 401);
    // HTTP/1.0 cannot be upgraded: no console may stay connected.
    g_autoptr(Client) old = client_unix(server);
    client_say(old, "GET /v1/vms/here/console HTTP/1.0\r\n" UPGRADE "\r\n");
    client_expect_eof(old);
    g_assert_null(strstr(old->in->str, "101"));
    until(&qemu.eof);
    qemu_end(&qemu, server);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    server_test("/api-console/echo", test_echo);
    server_test("/api-console/lost-client-is-noticed", test_lost_client_is_noticed);
    server_test("/api-console/eager", test_eager);
    server_test("/api-console/much", test_much);
    server_test("/api-console/stuck", test_stuck);
    server_test("/api-console/client-leaves", test_client_leaves);
    server_test("/api-console/server-ends", test_server_ends);
    server_test("/api-console/elsewhere", test_elsewhere);
    server_test("/api-console/nobody-there", test_nobody_there);
    server_test("/api-console/not-allowed", test_not_allowed);
    return g_test_run();
}
