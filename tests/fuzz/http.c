// SPDX-License-Identifier: GPL-2.0-or-later
// The HTTP API on its unix socket, or by TCP (inputs that begin with "@") where a token is asked
// for, with the real server and an agent that agrees to everything: any bytes get an answer of HTTP
// or the end of the connection, and what is JSON is whole.
#include "tests/fuzz/fuzz.h"

#include "agent/api_console.h"
#include "agent/api_events.h"
#include "agent/http_private.h"
#include "tests/agent/api_support.h"

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX = 64 * 1024, TURNS = 200, EVENTS = 3 };

static Server server;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    server_start(&server);
    server.agent.console = g_strdup("/vmferry-fuzz/console");
    fuzz_log_quietly();
    for (int i = 0; i < EVENTS; i++)
        agent_events_add(server.agent.events, "info", "vm.started", "here", NULL, "it runs");
    return 0;
}

static int dial_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(server.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger at_once = {.l_onoff = 1}; // no port is kept waiting after each input
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_REQUIRE(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0, "linger");
    FUZZ_REQUIRE(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "port %u",
                 server.port);
    return fd;
}

static int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, server.socket_path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_REQUIRE(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "%s: %s",
                 server.socket_path, g_strerror(errno));
    return fd;
}

static GString *converse(int fd, const uint8_t *data, size_t size)
{
    GString *answer = g_string_new(NULL);
    char bytes[4096];
    ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    FUZZ_REQUIRE(n == (ssize_t)size, "the socket is too small");
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < TURNS; i++) {
        bool busy = g_main_context_iteration(NULL, FALSE);
        n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0)
            g_string_append_len(answer, bytes, n);
        if (n == 0 || (n < 0 && !busy))
            break;
    }
    return answer;
}

// The first answer's body, where it is a JSON one with a length.
static void check_json(const char *text)
{
    const char *head_end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
    if (head_end == NULL || length == NULL || length > head_end ||
        strstr(text, "application/json") == NULL || strstr(text, "HTTP/1.1 100") == text)
        return;
    size_t bytes = (size_t)atoll(length + strlen("Content-Length: "));
    if (strlen(head_end + 4) < bytes || bytes == 0)
        return;
    json_t *body = json_loadb(head_end + 4, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    FUZZ_REQUIRE(body != NULL, "an answer that is not JSON: %s", text);
    json_decref(body);
}

// A stream whose client has gone is found out by its timer only: too late here, where hundreds come
// in a second.
static void end_connections(void)
{
    fuzz_run_loop();
    if (server.agent.reply != NULL)
        server_reply(&server);
    api_events_close_all(server.http);
    api_console_close_all(server.http);
    fuzz_run_loop();
    FUZZ_REQUIRE(server.http->streams == NULL && server.http->waiting == NULL,
                 "a connection is left");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool tcp = data[0] == '@';
    int fd = tcp ? dial_tcp() : dial();
    data += tcp;
    size -= tcp;
    GString *answer = converse(fd, data, MIN(size, (size_t)MAX));
    FUZZ_REQUIRE(answer->len == 0 || g_str_has_prefix(answer->str, "HTTP/1."), "answered %s",
                 answer->str);
    if (answer->len > 0 && memmem(data, size, "HEAD", 4) == NULL) // which has no body
        check_json(answer->str);
    close(fd);
    end_connections();
    g_string_free(answer, TRUE);
    return 0;
}
