// SPDX-License-Identifier: GPL-2.0-or-later
// The HTTP JSON API /v1/ (docs/API.md) on TCP with a bearer token and on a unix socket for local
// root (RUN_DIR/api.sock, mode 0600, no token). libmicrohttpd driven by the main loop: no threads.
#pragma once

#include "agent/config.h"
#include "agent/service.h"

enum { AGENT_HTTP_TIMEOUT_S = 60 }; // of a connection on which nothing happens

typedef struct AgentHttp AgentHttp;
AgentHttp *agent_http_new(Agent *agent, const AgentConfig *config, GError **error);
void agent_http_free(AgentHttp *http);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AgentHttp, agent_http_free)
