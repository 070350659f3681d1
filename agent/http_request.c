// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/http_request.h"

#include "agent/api.h"
#include "agent/api_error.h"
#include "agent/http_source.h"
#include "agent/http_token.h"

#include <string.h>

// What is refused is read to its end, within reason, so that the client reads the answer and not a
// connection that was reset.
enum { BODY_MAX = 1024 * 1024, DRAIN_MAX = 8 * 1024 * 1024 };

static void unref(HttpRequest *request)
{
    if (--request->references > 0)
        return;
    g_clear_pointer(&request->response, MHD_destroy_response);
    g_byte_array_unref(request->body);
    g_free(request);
}

const char *http_request_header(HttpRequest *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_request_argument(HttpRequest *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

// --- answers ---

static void resume(HttpRequest *request)
{
    request->waiting = false;
    request->http->waiting = g_list_remove(request->http->waiting, request);
    MHD_resume_connection(request->connection);
    http_source_run_soon(request->door->source);
}

void http_answer(HttpRequest *request, unsigned status, struct MHD_Response *response)
{
    g_clear_pointer(&request->response, MHD_destroy_response);
    request->response = response;
    request->status = status;
    if (request->waiting)
        resume(request);
}

void http_answer_json(HttpRequest *request, unsigned status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, "Content-Type", "application/json");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    http_answer(request, status, response);
}

void http_answer_problem(HttpRequest *request, unsigned status, const char *code,
                         const char *message)
{
    http_answer_json(request, status, api_error_json(code, message));
}

void http_answer_error(HttpRequest *request, const GError *error)
{
    http_answer_problem(request, api_error_status(error), api_error_code(error), error->message);
}

void *http_request_expect(HttpRequest *request, unsigned status)
{
    request->status = status;
    request->references++;
    return request;
}

void http_reply(json_t *result, const GError *error, gpointer data)
{
    HttpRequest *request = data;
    if (request->connection != NULL && error != NULL)
        http_answer_error(request, error);
    else if (request->connection != NULL)
        http_answer_json(request, request->status,
                         result != NULL ? json_incref(result) : json_object());
    unref(request);
}

// --- libmicrohttpd's side ---

static HttpRequest *request_new(HttpDoor *door, struct MHD_Connection *connection)
{
    HttpRequest *request = g_new0(HttpRequest, 1);
    request->http = door->http;
    request->door = door;
    request->connection = connection;
    request->body = g_byte_array_new();
    request->references = 1;
    request->unauthorized =
        !door->local &&
        !http_token_matches(door->http->token, http_request_header(request, "Authorization"));
    return request;
}

static void answer_refused(HttpRequest *request)
{
    if (request->unauthorized)
        http_answer_problem(request, MHD_HTTP_UNAUTHORIZED, "unauthorized",
                            "the header \"Authorization: Bearer TOKEN\" is missing or its token "
                            "is not this cluster's");
    else
        http_answer_problem(request, MHD_HTTP_CONTENT_TOO_LARGE, "too-large",
                            "the body is larger than 1 MiB");
}

static enum MHD_Result send_answer(HttpRequest *request)
{
    enum MHD_Result queued =
        MHD_queue_response(request->connection, request->status, request->response);
    g_clear_pointer(&request->response, MHD_destroy_response);
    return queued;
}

// A client that waits for "100 Continue" is told before it sends what is not wanted.
static enum MHD_Result begin(HttpRequest *request)
{
    const char *length = http_request_header(request, "Content-Length");
    guint64 announced = length != NULL ? g_ascii_strtoull(length, NULL, 10) : 0;
    request->too_large = announced > BODY_MAX;
    if (!request->unauthorized && !request->too_large)
        return MHD_YES;
    if (http_request_header(request, "Expect") == NULL && announced <= DRAIN_MAX)
        return MHD_YES;
    answer_refused(request);
    return send_answer(request);
}

static enum MHD_Result take_body(HttpRequest *request, const char *data, size_t size)
{
    request->received += size;
    if (request->received > BODY_MAX)
        request->too_large = true;
    if (!request->too_large && !request->unauthorized)
        g_byte_array_append(request->body, (const guint8 *)data, (guint)size);
    return request->received <= DRAIN_MAX ? MHD_YES : MHD_NO;
}

static enum MHD_Result finish(HttpRequest *request, const char *method, const char *url)
{
    if (request->response == NULL && (request->unauthorized || request->too_large))
        answer_refused(request);
    else if (request->response == NULL)
        api_dispatch(request, method, url);
    if (request->response != NULL)
        return send_answer(request);
    request->waiting = true;
    request->http->waiting = g_list_prepend(request->http->waiting, request);
    MHD_suspend_connection(request->connection);
    return MHD_YES;
}

enum MHD_Result http_request_handle(void *data, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version,
                                    const char *upload_data, size_t *upload_size, void **context)
{
    (void)version;
    HttpDoor *door = data;
    if (door->http->ending)
        return MHD_NO;
    if (*context == NULL) {
        *context = request_new(door, connection);
        return begin(*context);
    }
    if (*upload_size == 0)
        return finish(*context, method, url);
    size_t size = *upload_size;
    *upload_size = 0;
    return take_body(*context, upload_data, size);
}

void http_request_completed(void *data, struct MHD_Connection *connection, void **context,
                            enum MHD_RequestTerminationCode how)
{
    (void)data;
    (void)connection;
    (void)how;
    HttpRequest *request = *context;
    if (request == NULL)
        return;
    *context = NULL;
    if (request->waiting)
        request->http->waiting = g_list_remove(request->http->waiting, request);
    request->waiting = false;
    request->connection = NULL;
    if (request->gone != NULL)
        request->gone(request->gone_data);
    unref(request);
}

void http_request_abandon(HttpRequest *request)
{
    resume(request);
}
