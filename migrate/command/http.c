// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/http.h"

#include "migrate/command/error.h"

#include <string.h>

enum {
    MAX_REPLY = 64 << 20, // a node that sends more than this is no vmferryd
};

CURL *http_handle(const Endpoint *endpoint, const char *path)
{
    CURL *handle = curl_easy_init();
    g_autofree char *url = g_strconcat(endpoint->base, path, NULL);
    curl_easy_setopt(handle, CURLOPT_URL, url);
    if (endpoint->socket != NULL)
        curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, endpoint->socket);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    // The token must not reach a proxy that happens to be in the environment.
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS);
    return handle;
}

struct curl_slist *http_headers(const Endpoint *endpoint, const char *token)
{
    struct curl_slist *headers = curl_slist_append(NULL, "User-Agent: vmferry/" VMFERRY_VERSION);
    if (endpoint->socket != NULL || token == NULL)
        return headers;
    g_autofree char *line = g_strdup_printf("Authorization: Bearer %s", token);
    return curl_slist_append(headers, line);
}

static bool was_connected(CURL *handle, CURLcode result)
{
    curl_off_t connected_us = 0;
    switch (result) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        return false;
    case CURLE_OPERATION_TIMEDOUT:
        curl_easy_getinfo(handle, CURLINFO_CONNECT_TIME_T, &connected_us);
        return connected_us != 0;
    default:
        return true;
    }
}

HttpOutcome http_outcome(CURL *handle, CURLcode result, const Endpoint *endpoint, GError **error)
{
    if (result == CURLE_OK)
        return HTTP_ANSWERED;
    bool connected = was_connected(handle, result);
    long reason = 0;
    curl_easy_getinfo(handle, CURLINFO_OS_ERRNO, &reason);
    const char *text =
        !connected && reason != 0 ? g_strerror((int)reason) : curl_easy_strerror(result);
    g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_UNREACHABLE,
                connected ? "%s did not answer: %s; whether it did what was asked is unknown, look "
                            "with `vmferry status`"
                          : "%s cannot be reached: %s; is vmferryd running there?",
                endpoint->name, text);
    return connected ? HTTP_CUT : HTTP_NOT_CONNECTED;
}

static size_t collect(char *bytes, size_t size, size_t count, void *data)
{
    GString *body = data;
    if (body->len + size * count > MAX_REPLY)
        return 0;
    g_string_append_len(body, bytes, (gssize)(size * count));
    return size * count;
}

static void set_body(CURL *handle, const HttpRequest *request, struct curl_slist **headers)
{
    if (strcmp(request->method, "GET") == 0)
        return;
    curl_easy_setopt(handle, CURLOPT_POST, 1L);
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request->body != NULL ? request->body : "");
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->length);
    *headers = curl_slist_append(*headers, request->body != NULL ? "Content-Type: application/json"
                                                                 : "Content-Type:");
    // Else curl waits a second for a "100 Continue" before a large definition.
    *headers = curl_slist_append(*headers, "Expect:");
}

HttpOutcome http_exchange(const Endpoint *endpoint, const char *token, const HttpRequest *request,
                          long *status, GString **body, GError **error)
{
    CURL *handle = http_handle(endpoint, request->path);
    struct curl_slist *headers = http_headers(endpoint, token);
    GString *reply = g_string_new(NULL);
    set_body(handle, request, &headers);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, reply);
    CURLcode result = curl_easy_perform(handle);
    HttpOutcome outcome = http_outcome(handle, result, endpoint, error);
    if (outcome == HTTP_ANSWERED) {
        curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, status);
        *body = g_steal_pointer(&reply);
    }
    if (reply != NULL)
        g_string_free(reply, TRUE);
    curl_easy_cleanup(handle);
    curl_slist_free_all(headers);
    return outcome;
}
