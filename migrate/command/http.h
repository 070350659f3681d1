// SPDX-License-Identifier: GPL-2.0-or-later
// One HTTP exchange with one endpoint, over libcurl. No policy: which endpoint is asked next is
// client.h's matter.
#pragma once

#include "migrate/command/endpoint.h"

#include <curl/curl.h>

enum { HTTP_CONNECT_MS = 3000 }; // for one node; then the next one is asked

typedef struct {
    const char *method;
    const char *path;    // with the query, from /v1 on
    const char *body;    // NULL: none
    size_t length;       // of BODY, bytes
    unsigned timeout_ms; // for the whole exchange
} HttpRequest;

typedef enum {
    HTTP_ANSWERED,
    HTTP_NOT_CONNECTED, // nothing was sent: it is safe to ask another endpoint
    HTTP_CUT,           // the request may have been carried out
} HttpOutcome;

// TOKEN may be NULL. Where HTTP_ANSWERED, STATUS and BODY (the caller frees) are set, else ERROR
// (COMMAND_ERROR_UNREACHABLE).
HttpOutcome http_exchange(const Endpoint *endpoint, const char *token, const HttpRequest *request,
                          long *status, GString **body, GError **error);

// A handle for ENDPOINT's PATH, without headers; the caller ends it with curl_easy_cleanup().
CURL *http_handle(const Endpoint *endpoint, const char *path);
// Headers for a request; the caller ends them with curl_slist_free_all(). No token goes over a
// unix socket: its mode is its protection.
struct curl_slist *http_headers(const Endpoint *endpoint, const char *token);
// What RESULT of HANDLE means for ENDPOINT; sets ERROR unless HTTP_ANSWERED.
HttpOutcome http_outcome(CURL *handle, CURLcode result, const Endpoint *endpoint, GError **error);
