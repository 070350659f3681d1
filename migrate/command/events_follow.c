// SPDX-License-Identifier: GPL-2.0-or-later
// events -f: over server-sent events, from whichever node answers.
//
// Ids are each agent's own and begin anew with it. So after every cut the list is asked for first:
// if it is the same agent, its Last-Event-ID does; else what is newer than the last one shown.
#include "migrate/command/error.h"
#include "migrate/command/events.h"
#include "migrate/command/sse.h"

enum {
    FIRST_SHOWN = 10, // events before the first new one, without --since
    RETRY_US = 1000000,
};

typedef struct {
    Client *client;
    const Options *options;
    const Endpoint *endpoint; // whose LAST_ID it is; NULL: none yet
    json_int_t last_id;
    char *last_time;
    Sse sse;
} Follow;

static void show(Follow *follow, json_t *event)
{
    const char *time = json_string_value(json_object_get(event, "time"));
    events_print(event, follow->options);
    follow->last_id = json_integer_value(json_object_get(event, "id"));
    if (time != NULL) {
        g_free(follow->last_time);
        follow->last_time = g_strdup(time);
    }
}

static void streamed(const char *id, const char *data, gpointer user)
{
    Follow *follow = user;
    json_t *event = json_loads(data, 0, NULL);
    if (event != NULL)
        show(follow, event);
    if (id != NULL)
        follow->last_id = g_ascii_strtoll(id, NULL, 10);
    json_decref(event);
}

static json_int_t newest_id(json_t *events)
{
    json_int_t newest = 0;
    size_t index;
    json_t *event;
    json_array_foreach(events, index, event) newest =
        MAX(newest, json_integer_value(json_object_get(event, "id")));
    return newest;
}

static bool is_wanted(const Follow *follow, json_t *event, bool first, size_t index, size_t count)
{
    const char *time = json_string_value(json_object_get(event, "time"));
    if (!first)
        return g_strcmp0(time, follow->last_time) > 0;
    if (follow->options->since >= 0)
        return json_integer_value(json_object_get(event, "id")) > follow->options->since;
    return index + FIRST_SHOWN >= count;
}

// Finds a node that answers, shows what is missing and sets LAST_ID for the stream.
static bool resume(Follow *follow, GError **error)
{
    json_t *events = client_get(follow->client, "/v1/events", error);
    if (events == NULL)
        return false;
    const Endpoint *endpoint = client_endpoint(follow->client);
    json_int_t newest = newest_id(events);
    bool first = follow->endpoint == NULL;
    bool same = follow->endpoint == endpoint && newest >= follow->last_id;
    size_t index;
    json_t *event;
    json_array_foreach(events, index, event) if (!same && is_wanted(follow, event, first, index,
                                                                    json_array_size(events)))
        show(follow, event);
    if (!same)
        follow->last_id = newest;
    follow->endpoint = endpoint;
    json_decref(events);
    return true;
}

static size_t received(char *bytes, size_t size, size_t count, void *data)
{
    Follow *follow = data;
    return sse_feed(&follow->sse, bytes, size * count) ? size * count : 0;
}

// Until it is cut. False with ERROR where the node answered with an error.
static bool stream(Follow *follow, GError **error)
{
    long status = 0;
    g_autofree char *last =
        g_strdup_printf("Last-Event-ID: %" JSON_INTEGER_FORMAT, follow->last_id);
    g_autofree char *path =
        g_strdup_printf("/v1/events?since=%" JSON_INTEGER_FORMAT, follow->last_id);
    CURL *handle = http_handle(follow->endpoint, path);
    struct curl_slist *headers = http_headers(follow->endpoint, client_token(follow->client));
    headers = curl_slist_append(headers, "Accept: text/event-stream");
    headers = curl_slist_append(headers, last);
    sse_init(&follow->sse, streamed, follow);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, received);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, follow);
    curl_easy_setopt(handle, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, (long)EVENTS_SILENCE_S);
    curl_easy_perform(handle);
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    sse_clear(&follow->sse);
    curl_easy_cleanup(handle);
    curl_slist_free_all(headers);
    if (status < 400 || status >= 500)
        return true;
    client_set_error(error, status, "");
    return false;
}

static bool heals(const GError *failure)
{
    return g_error_matches(failure, COMMAND_ERROR, COMMAND_ERROR_UNREACHABLE) ||
           g_error_matches(failure, COMMAND_ERROR, COMMAND_ERROR_UNAVAILABLE);
}

bool events_follow(Client *client, const Options *options, GError **error)
{
    Follow follow = {.client = client, .options = options};
    g_autoptr(GError) failure = NULL;
    for (;;) {
        bool resumed = resume(&follow, &failure);
        bool first = follow.endpoint == NULL; // then nothing is waited for
        if (resumed ? !stream(&follow, &failure) : first || !heals(failure))
            break;
        g_clear_error(&failure);
        g_usleep(RETRY_US);
    }
    g_free(follow.last_time);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}
