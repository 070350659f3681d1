// SPDX-License-Identifier: GPL-2.0-or-later
// A request from its first header to its answer. The answer may be given at once or later; the
// connection is suspended meanwhile. What is answered after the server was freed is dropped.
#pragma once

#include "agent/http_private.h"

typedef struct HttpRequest HttpRequest;

struct HttpRequest {
    AgentHttp *http;
    HttpDoor *door;                    // it came through
    struct MHD_Connection *connection; // NULL: gone; then HTTP is not to be used either
    GByteArray *body;                  // 1 MiB at most
    guint64 received;                  // of the body, kept or not
    bool unauthorized;
    bool too_large;
    bool waiting;                  // suspended, in http->waiting
    struct MHD_Response *response; // the answer, until it is queued
    unsigned status;               // of RESPONSE, or of a reply that is good
    void (*gone)(gpointer data);   // where set: called if the connection ends before its answer
    gpointer gone_data;            // took effect, instead of what the answer would have freed
    int references;
};

// libmicrohttpd's access handler (DATA: HttpDoor) and completion callback.
enum MHD_Result http_request_handle(void *data, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version,
                                    const char *upload_data, size_t *upload_size, void **context);
void http_request_completed(void *data, struct MHD_Connection *connection, void **context,
                            enum MHD_RequestTerminationCode how);
// Resumes a request that still waits, when the server ends.
void http_request_abandon(HttpRequest *request);

// A header or query argument of the request, or NULL.
const char *http_request_header(HttpRequest *request, const char *name);
const char *http_request_argument(HttpRequest *request, const char *name);

// --- exactly one answer ---
// Takes RESPONSE.
void http_answer(HttpRequest *request, unsigned status, struct MHD_Response *response);
// Takes BODY.
void http_answer_json(HttpRequest *request, unsigned status, json_t *body);
void http_answer_error(HttpRequest *request, const GError *error);
// {"error":{"code":CODE,"message":MESSAGE}}
void http_answer_problem(HttpRequest *request, unsigned status, const char *code,
                         const char *message);
// For calls of agent_service_*: "reply, data" are http_reply and http_request_expect(request,
// STATUS), with the status of a reply that is good.
void *http_request_expect(HttpRequest *request, unsigned status);
void http_reply(json_t *result, const GError *error, gpointer request);
