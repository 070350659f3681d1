// SPDX-License-Identifier: GPL-2.0-or-later
// A real server with a fake agent behind it, and clients of raw sockets. All in one main loop: a
// test decides what happens first.
#pragma once

#include "agent/http.h"

#define TEST_TOKEN "0123456789abcdef-token"
#define TEST_AUTHORIZATION "Authorization: Bearer " TEST_TOKEN "\r\n"

// The agent behind the API: notes what was asked and replies as it was told to.
struct Agent {
    AgentEvents *events;
    AgentJobs *jobs;
    char *asked;        // the last call, as text
    GError *refuse;     // what to reply with, NULL: a result
    bool apart;         // it has not joined the cluster
    bool later;         // keep the reply until agent_test_reply
    AgentReplyFn reply; // the one that was kept
    gpointer reply_data;
    char *console; // a console's socket on this node
};

typedef struct {
    char *dir;
    char *socket_path;
    char *token_path;
    guint16 port; // on 127.0.0.1
    AgentConfig config;
    Agent agent;
    AgentHttp *http;
} Server;

void server_start(Server *server);
void server_end(Server *server); // the agent's reply may still be out
void server_free(Server *server);
// Replies to the call that was kept.
void server_reply(Server *server);

typedef struct {
    int fd;
    GString *in; // all that was read
    bool eof;
    guint source;
} Client;

Client *client_unix(Server *server);
Client *client_tcp(Server *server);
void client_free(Client *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Client, client_free)
void client_send(Client *client, const char *data, gsize length);
void client_say(Client *client, const char *text);
// A whole request; HEADERS end with CRLF each and may be "", BODY may be NULL.
void client_ask(Client *client, const char *method, const char *path, const char *headers,
                const char *body);
// Runs the main loop until TEXT was read from the server / it closed / *FLAG is set; fails after a
// while.
void client_expect(Client *client, const char *text);
void client_expect_eof(Client *client);
void expect_set(gpointer *flag);
unsigned client_status(Client *client); // of the answer that was read first
json_t *client_body(Client *client);    // JSON, new reference, of a connection that was closed

// Asks on a connection of its own on the unix socket: the status, and the body in *BODY (may be
// NULL; new reference).
unsigned ask(Server *server, const char *method, const char *path, const char *body,
             json_t **answer);
// Adds a test with a server of its own.
void server_test(const char *path, void (*function)(Server *server, gconstpointer data));
// How often the main loop woke within MS: few, where all wait.
guint loop_iterations(guint ms);
