// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/console_open.h"

#include "migrate/command/error.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_ANSWER = 64 << 10,
};

void console_clear(Console *console)
{
    if (console->handle != NULL)
        curl_easy_cleanup(console->handle);
    if (console->early != NULL)
        g_string_free(console->early, TRUE);
    *console = (Console){0};
}

int console_socket(const Console *console)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(console->handle, CURLINFO_ACTIVESOCKET, &fd);
    return fd;
}

static bool wait_for(const Console *console, short events, int timeout_ms)
{
    struct pollfd waited = {.fd = console_socket(console), .events = events};
    return poll(&waited, 1, timeout_ms) > 0;
}

bool console_send(Console *console, const char *bytes, size_t length, GError **error)
{
    while (length > 0) {
        size_t sent = 0;
        CURLcode result = curl_easy_send(console->handle, bytes, length, &sent);
        bool full = result == CURLE_AGAIN && wait_for(console, POLLOUT, CONSOLE_SEND_MS);
        if (result != CURLE_OK && !full) {
            g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_FAILED,
                        "the console takes no input: %s", curl_easy_strerror(result));
            return false;
        }
        bytes += sent;
        length -= sent;
    }
    return true;
}

gssize console_receive(Console *console, char *bytes, size_t room)
{
    size_t received = 0;
    CURLcode result = curl_easy_recv(console->handle, bytes, room, &received);
    if (result == CURLE_AGAIN)
        return 0;
    return result == CURLE_OK && received > 0 ? (gssize)received : -1;
}

static CURLcode connect_to(Console *console, const Endpoint *endpoint)
{
    console->handle = http_handle(endpoint, "/");
    console->early = g_string_new(NULL);
    curl_easy_setopt(console->handle, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(console->handle, CURLOPT_TCP_KEEPALIVE, 1L); // the node may lose its power
    curl_easy_setopt(console->handle, CURLOPT_TCP_KEEPIDLE, (long)CONSOLE_IDLE_S);
    curl_easy_setopt(console->handle, CURLOPT_TCP_KEEPINTVL, (long)CONSOLE_PROBE_S);
    return curl_easy_perform(console->handle);
}

static bool ask(Console *console, const Endpoint *endpoint, const char *token, const char *vm,
                GError **error)
{
    g_autofree char *path = client_path("vms", vm, "/console");
    g_autoptr(GString) request = g_string_new(NULL);
    g_string_printf(request,
                    "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: vmferry-console\r\n"
                    "Connection: Upgrade\r\n",
                    path, strstr(endpoint->base, "//") + 2);
    struct curl_slist *headers = http_headers(endpoint, token);
    for (struct curl_slist *header = headers; header != NULL; header = header->next)
        g_string_append_printf(request, "%s\r\n", header->data);
    curl_slist_free_all(headers);
    g_string_append(request, "\r\n");
    return console_send(console, request->str, request->len, error);
}

// Reads on into EARLY; false at the end or after a silence.
static bool read_more(Console *console)
{
    char bytes[4096];
    gssize got = console_receive(console, bytes, sizeof bytes);
    if (got == 0)
        return wait_for(console, POLLIN, CONSOLE_ANSWER_MS);
    if (got > 0)
        g_string_append_len(console->early, bytes, got);
    return got > 0 && console->early->len <= MAX_ANSWER;
}

static size_t length_of_body(const char *head)
{
    g_autofree char *lower = g_ascii_strdown(head, -1);
    const char *field = strstr(lower, "\r\ncontent-length:");
    return field != NULL ? strtoul(field + strlen("\r\ncontent-length:"), NULL, 10) : 0;
}

// The HTTP status; EARLY is then what follows the head: output, or an error's body. 0: no answer.
static long read_answer(Console *console)
{
    char *end;
    while ((end = strstr(console->early->str, "\r\n\r\n")) == NULL)
        if (!read_more(console))
            return 0;
    g_autofree char *head = g_strndup(console->early->str, (gsize)(end - console->early->str));
    g_string_erase(console->early, 0, (gssize)strlen(head) + 4);
    const char *space = strchr(head, ' ');
    long status = g_str_has_prefix(head, "HTTP/1.1 ") ? strtol(space, NULL, 10) : 0;
    if (status != 101)
        while (console->early->len < length_of_body(head) && read_more(console))
            ;
    return status;
}

// The node to go to instead, from the error object of a conflict. The caller frees.
static char *other_address(const Console *console)
{
    json_t *answer = json_loads(console->early->str, 0, NULL);
    json_t *problem = json_object_get(answer, "error");
    char *address = g_strdup(json_string_value(json_object_get(problem, "address")));
    json_decref(answer);
    return address;
}

// One node. Where the VM is on another, OTHER is its URL besides ERROR.
static HttpOutcome open_at(Console *console, const Endpoint *endpoint, const char *token,
                           const char *vm, char **other, GError **error)
{
    CURLcode connected = connect_to(console, endpoint);
    HttpOutcome outcome = http_outcome(console->handle, connected, endpoint, error);
    if (outcome != HTTP_ANSWERED || !ask(console, endpoint, token, vm, error))
        return outcome == HTTP_ANSWERED ? HTTP_CUT : outcome;
    long status = read_answer(console);
    if (status == 101)
        return HTTP_ANSWERED;
    if (status == 0) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_UNREACHABLE, "%s does not answer",
                    endpoint->name);
        return HTTP_CUT;
    }
    g_autofree char *address = status == 409 ? other_address(console) : NULL;
    *other = address != NULL ? g_strconcat("http://", address, NULL) : NULL;
    client_set_error(error, status, console->early->str);
    return HTTP_CUT;
}

static bool open_at_other(Console *console, const Options *options, const char *url, const char *vm,
                          GError **error)
{
    g_autofree char *token = NULL;
    g_autofree char *further = NULL;
    g_autoptr(Endpoint) endpoint = endpoint_new(url, error);
    console_clear(console);
    return endpoint != NULL && endpoint_read_token(options, &token, error) &&
           open_at(console, endpoint, token, vm, &further, error) == HTTP_ANSWERED;
}

bool console_open(Client *client, const Options *options, const char *vm, Console *console,
                  GError **error)
{
    HttpOutcome outcome = HTTP_NOT_CONNECTED;
    g_autofree char *other = NULL;
    g_autoptr(GError) failure = NULL;
    for (guint tries = client_endpoints(client); tries > 0; tries--) {
        console_clear(console);
        g_clear_error(&failure);
        outcome =
            open_at(console, client_endpoint(client), client_token(client), vm, &other, &failure);
        if (outcome != HTTP_NOT_CONNECTED)
            break;
        client_next_endpoint(client);
    }
    if (outcome == HTTP_ANSWERED)
        return true;
    if (other != NULL && open_at_other(console, options, other, vm, error))
        return true;
    if (other == NULL)
        g_propagate_error(error, g_steal_pointer(&failure));
    console_clear(console);
    return false;
}
