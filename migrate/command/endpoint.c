// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command/endpoint.h"

#include "migrate/command/error.h"

#include <curl/curl.h>
#include <string.h>

#define LOCAL_SOCKET "/run/vmferry/api.sock"
#define LOCAL_URL "http://127.0.0.1:7791"
#define TOKEN_FILE "/etc/vmferry/token"

void endpoint_free(Endpoint *endpoint)
{
    if (endpoint == NULL)
        return;
    g_free(endpoint->base);
    g_free(endpoint->socket);
    g_free(endpoint->name);
    g_free(endpoint);
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK && strcmp(text, "/") != 0;
    curl_free(text);
    return has;
}

// Only scheme, host and port: the command adds the path itself.
static bool is_base_url(const char *text)
{
    if (!g_str_has_prefix(text, "http://") && !g_str_has_prefix(text, "https://"))
        return false;
    CURLU *url = curl_url();
    bool good = curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                !has_part(url, CURLUPART_PATH) && !has_part(url, CURLUPART_QUERY) &&
                !has_part(url, CURLUPART_FRAGMENT) && !has_part(url, CURLUPART_USER);
    curl_url_cleanup(url);
    return good;
}

Endpoint *endpoint_new(const char *url, GError **error)
{
    bool is_socket = g_str_has_prefix(url, "unix:/");
    if (!is_socket && !is_base_url(url)) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE,
                    "\"%s\" is no URL of a node; write it as http://HOST:PORT or unix:/PATH", url);
        return NULL;
    }
    Endpoint *endpoint = g_new0(Endpoint, 1);
    endpoint->name = g_strdup(url);
    endpoint->socket = is_socket ? g_strdup(url + strlen("unix:")) : NULL;
    endpoint->base = g_strdup(is_socket ? "http://localhost" : url);
    if (g_str_has_suffix(endpoint->base, "/"))
        endpoint->base[strlen(endpoint->base) - 1] = '\0';
    return endpoint;
}

static bool add_list(GPtrArray *endpoints, const char *list, GError **error)
{
    g_auto(GStrv) urls = g_strsplit(list, ",", -1);
    for (char **url = urls; *url != NULL; url++) {
        if (*g_strstrip(*url) == '\0')
            continue;
        Endpoint *endpoint = endpoint_new(*url, error);
        if (endpoint == NULL)
            return false;
        g_ptr_array_add(endpoints, endpoint);
    }
    if (endpoints->len > 0)
        return true;
    g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE, "the list of URLs is empty");
    return false;
}

GPtrArray *endpoints_find(const Options *options, GError **error)
{
    g_autoptr(GPtrArray) endpoints = g_ptr_array_new_with_free_func((GDestroyNotify)endpoint_free);
    const char *list = options->url != NULL ? options->url : g_getenv("VMFERRY_URL");
    bool has_socket = g_file_test(LOCAL_SOCKET, G_FILE_TEST_EXISTS);
    if (list == NULL || (options->url == NULL && *list == '\0'))
        list = has_socket ? "unix:" LOCAL_SOCKET : LOCAL_URL;
    return add_list(endpoints, list, error) ? g_steal_pointer(&endpoints) : NULL;
}

bool endpoint_read_token(const Options *options, char **token, GError **error)
{
    const char *env = g_getenv("VMFERRY_TOKEN_FILE");
    const char *named = options->token_file != NULL ? options->token_file : env;
    g_autoptr(GError) cause = NULL;
    g_autofree char *text = NULL;
    *token = NULL;
    if (!g_file_get_contents(named != NULL ? named : TOKEN_FILE, &text, NULL, &cause)) {
        if (named == NULL && g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return true;
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_UNAUTHORIZED,
                    "the token cannot be read: %s; run as root, or name another --token-file",
                    cause->message);
        return false;
    }
    g_strstrip(text);
    // It becomes a header line: a line break would start another header.
    for (const char *byte = text; *byte != '\0'; byte++)
        if (!g_ascii_isgraph(*byte)) {
            g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_UNAUTHORIZED,
                        "%s holds no token: one line without spaces is expected",
                        named != NULL ? named : TOKEN_FILE);
            return false;
        }
    *token = g_steal_pointer(&text);
    return true;
}
