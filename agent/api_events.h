// SPDX-License-Identifier: GPL-2.0-or-later
// GET /v1/events: what happened, as an array or as a stream of server-sent events.
#pragma once

#include "agent/http_request.h"

enum { API_EVENTS_KEEP_ALIVE_S = 15 }; // a comment in a stream, so that its reader knows we live

void api_get_events(HttpRequest *request, const char *name);
// Ends all streams. The server goes next.
void api_events_close_all(AgentHttp *http);
