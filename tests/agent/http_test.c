// SPDX-License-Identifier: GPL-2.0-or-later
// The server below the routes: who may come in, bodies, replies that come late, the end.
#include "tests/agent/api_support.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char close_header[] = "Connection: close\r\n";

static unsigned ask_tcp(Server *server, const char *authorization)
{
    g_autoptr(Client) client = client_tcp(server);
    g_autofree char *headers = g_strconcat(authorization, close_header, NULL);
    client_ask(client, "GET", "/v1/cluster", headers, NULL);
    client_expect_eof(client);
    if (client_status(client) == 401)
        g_assert_nonnull(strstr(client->in->str, "\r\nWWW-Authenticate: Bearer\r\n"));
    return client_status(client);
}

static void test_token(Server *server, gconstpointer data)
{
    (void)data;
    g_assert_cmpuint(ask_tcp(server, TEST_AUTHORIZATION), ==, 200);
    g_assert_cmpuint(ask_tcp(server, "authorization: bearer " TEST_TOKEN "\r\n"), ==, 200);
    g_assert_cmpuint(ask_tcp(server, ""), ==, 401);
    g_assert_cmpuint(ask_tcp(server, "Authorization: " TEST_TOKEN "\r\n"), ==, 401);
    g_assert_cmpuint(ask_tcp(server, "Authorization: Bearer \r\n"), ==, 401);
    g_assert_cmpuint(ask_tcp(server, "Authorization: Bearer " TEST_TOKEN "x\r\n"), ==, 401);
    g_assert_cmpuint(ask_tcp(server, "Authorization: Bearer 0123456789abcdef\r\n"), ==, 401);
    g_assert_cmpuint(ask_tcp(server, "Authorization: Bearer " TEST_TOKEN TEST_TOKEN "\r\n"), ==,
                     401);
}

// The unknown are not even asked for what they want, nor is their body kept.
static void test_unauthorized_body(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) client = client_tcp(server);
    client_ask(client, "POST", "/v1/vms", close_header, "{\"name\":\"a\"}");
    client_expect_eof(client);
    g_assert_cmpuint(client_status(client), ==, 401);
    g_assert_null(server->agent.asked);
}

static void assert_new_fails(Server *server, int code, const char *named)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(agent_http_new(&server->agent, &server->config, &error));
    g_assert_error(error, AGENT_ERROR, code);
    if (strstr(error->message, named) == NULL)
        g_error("\"%s\" does not name %s", error->message, named);
}

static void write_token(Server *server, const char *text, mode_t mode)
{
    g_assert_true(g_file_set_contents(server->token_path, text, -1, NULL));
    g_assert_no_errno(g_chmod(server->token_path, mode));
}

static void test_token_file(Server *server, gconstpointer data)
{
    (void)data;
    server_end(server);
    write_token(server, TEST_TOKEN "\n", 0640);
    assert_new_fails(server, AGENT_ERROR_INVALID, "mode");
    write_token(server, "short\n", 0600);
    assert_new_fails(server, AGENT_ERROR_INVALID, "16");
    write_token(server, TEST_TOKEN "\n" TEST_TOKEN "\n", 0600);
    assert_new_fails(server, AGENT_ERROR_INVALID, "one line");
    server->config.token_file = server->dir;
    assert_new_fails(server, AGENT_ERROR_INVALID, "regular file");
    g_autofree char *missing = g_strconcat(server->token_path, ".missing", NULL);
    server->config.token_file = missing;
    assert_new_fails(server, AGENT_ERROR_INVALID, missing);
    g_clear_pointer(&server->config.listen[0], g_free); // no TCP: nobody needs a token
    g_autoptr(GError) error = NULL;
    server->http = agent_http_new(&server->agent, &server->config, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(ask(server, "GET", "/v1/cluster", NULL, NULL), ==, 200);
}

static void test_listen(Server *server, gconstpointer data)
{
    (void)data;
    static const char *const wrong[] = {"localhost:7791", "127.0.0.1",      "127.0.0.1:0",
                                        "::1:7791",       "127.0.0.1:port", "127.0.0.1:65536",
                                        "[::1]",          ":7791"};
    assert_new_fails(server, AGENT_ERROR_CONFLICT, server->socket_path); // it answers
    g_autofree char *port = g_strdup(server->config.listen[0]);
    g_autofree char *other = g_build_filename(server->dir, "other", NULL);
    g_assert_no_errno(g_mkdir(other, 0700));
    server->config.run_dir = other;
    assert_new_fails(server, AGENT_ERROR_FAILED, port); // somebody has it: we
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_free(server->config.listen[0]);
        server->config.listen[0] = g_strdup(wrong[i]);
        assert_new_fails(server, AGENT_ERROR_INVALID, wrong[i]);
    }
    g_assert_no_errno(g_rmdir(other));
}

// The documentation's addresses are nobody's: as if the network came up later.
static void test_address_not_there(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    server_end(server);
    for (int i = 0; i < 2; i++) {
        g_free(server->config.listen[0]);
        server->config.listen[0] =
            g_strdup_printf(i == 0 ? "192.0.2.1:%u" : "[2001:db8::1]:%u", server->port);
        server->http = agent_http_new(&server->agent, &server->config, &error);
        g_assert_no_error(error);
        server_end(server);
    }
}

static void test_socket_mode(Server *server, gconstpointer data)
{
    (void)data;
    struct stat found;
    g_assert_no_errno(stat(server->socket_path, &found));
    g_assert_cmpuint(found.st_mode, ==, S_IFSOCK | 0600);
    server_end(server);
    g_assert_false(g_file_test(server->socket_path, G_FILE_TEST_EXISTS));
}

static void test_stale_socket(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    g_autofree char *kept = g_strconcat(server->socket_path, ".kept", NULL);
    g_assert_no_errno(link(server->socket_path, kept));
    server_end(server);
    g_assert_no_errno(g_rename(kept, server->socket_path)); // as an agent that was killed leaves it
    server->http = agent_http_new(&server->agent, &server->config, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(ask(server, "GET", "/v1/cluster", NULL, NULL), ==, 200);
}

// --- bodies ---

static char *body_of(gsize size)
{
    char *body = g_strnfill(size, ' ');
    body[0] = '{';
    body[size - 1] = '}';
    return body;
}

static void test_body_limit(Server *server, gconstpointer data)
{
    (void)data;
    json_t *answer;
    g_autofree char *largest = body_of(1024 * 1024);
    g_assert_cmpuint(ask(server, "POST", "/v1/vms", largest, NULL), ==, 201);
    g_assert_nonnull(server->agent.asked);
    g_clear_pointer(&server->agent.asked, g_free);
    g_autofree char *larger = body_of(1024 * 1024 + 1);
    g_assert_cmpuint(ask(server, "POST", "/v1/vms", larger, &answer), ==, 413);
    json_t *error = json_object_get(answer, "error");
    g_assert_cmpstr(json_string_value(json_object_get(error, "code")), ==, "too-large");
    json_decref(answer);
    g_assert_null(server->agent.asked);
}

static void test_body_not_wanted(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) client = client_unix(server);
    client_ask(client, "POST", "/v1/vms",
               "Connection: close\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n", NULL);
    client_expect_eof(client);
    g_assert_cmpuint(client_status(client), ==, 413); // and no 100 before
}

static void test_body_chunked(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) client = client_unix(server);
    client_ask(client, "POST", "/v1/vms", "Connection: close\r\nTransfer-Encoding: chunked\r\n",
               NULL);
    g_autofree char *chunk = g_strnfill(0x10000, ' ');
    for (int i = 0; i < 17; i++) {
        client_say(client, "10000\r\n");
        client_send(client, chunk, 0x10000);
        client_say(client, "\r\n");
    }
    client_say(client, "0\r\n\r\n");
    client_expect_eof(client);
    g_assert_cmpuint(client_status(client), ==, 413);
}

// Two requests on a connection, the first one in pieces.
static void test_keep_alive(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) client = client_unix(server);
    client_say(client, "POST /v1/vms/a/stop HTTP/1.1\r\nHost: t\r\nContent-Le");
    client_say(client, "ngth: 15\r\n\r\n{\"mode\":");
    client_say(client, "\"save\"}");
    client_expect(client, "n1-7");
    g_assert_cmpstr(server->agent.asked, ==, "stop a save");
    client_ask(client, "POST", "/v1/vms/b/start", close_header, NULL);
    client_expect_eof(client);
    g_assert_cmpstr(server->agent.asked, ==, "start b");
}

// --- replies that come late ---

static void test_late_reply(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) client = client_unix(server);
    server->agent.later = true;
    client_ask(client, "POST", "/v1/vms/a/start", close_header, NULL);
    expect_set((gpointer *)&server->agent.reply);
    g_assert_cmpuint(ask(server, "GET", "/v1/cluster", NULL, NULL), ==, 200); // others go on
    g_assert_cmpuint(client->in->len, ==, 0);
    server_reply(server);
    client_expect_eof(client);
    g_assert_cmpuint(client_status(client), ==, 202);
}

static void test_client_gone(Server *server, gconstpointer data)
{
    (void)data;
    Client *client = client_unix(server);
    server->agent.later = true;
    client_ask(client, "POST", "/v1/vms/a/start", "", NULL);
    expect_set((gpointer *)&server->agent.reply);
    client_free(client);
    g_assert_cmpuint(ask(server, "GET", "/v1/cluster", NULL, NULL), ==, 200);
    server_reply(server);
    g_assert_cmpuint(ask(server, "GET", "/v1/cluster", NULL, NULL), ==, 200);
}

static void test_server_gone(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) client = client_unix(server);
    server->agent.later = true;
    client_ask(client, "POST", "/v1/vms/a/start", "", NULL);
    expect_set((gpointer *)&server->agent.reply);
    server_end(server);
    client_expect_eof(client);
    g_assert_cmpuint(client->in->len, ==, 0);
    server_reply(server); // into the void
}

static void test_idle_client(Server *server, gconstpointer data)
{
    (void)data;
    g_autoptr(Client) silent = client_tcp(server);
    g_autoptr(Client) halfway = client_tcp(server);
    client_say(halfway, "GET /v1/clus");
    g_assert_cmpuint(ask_tcp(server, TEST_AUTHORIZATION), ==, 200);
    server_end(server);
    client_expect_eof(silent);
    client_expect_eof(halfway);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*function)(Server *server, gconstpointer data);
    } tests[] = {
        {"/http/token", test_token},
        {"/http/unauthorized-body", test_unauthorized_body},
        {"/http/token-file", test_token_file},
        {"/http/listen", test_listen},
        {"/http/address-not-there", test_address_not_there},
        {"/http/socket-mode", test_socket_mode},
        {"/http/stale-socket", test_stale_socket},
        {"/http/body-limit", test_body_limit},
        {"/http/body-not-wanted", test_body_not_wanted},
        {"/http/body-chunked", test_body_chunked},
        {"/http/keep-alive", test_keep_alive},
        {"/http/late-reply", test_late_reply},
        {"/http/client-gone", test_client_gone},
        {"/http/server-gone", test_server_gone},
        {"/http/idle-client", test_idle_client},
    };
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        server_test(tests[i].path, tests[i].function);
    return g_test_run();
}
