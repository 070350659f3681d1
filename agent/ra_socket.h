// SPDX-License-Identifier: GPL-2.0-or-later
// The resource agent's socket: RUN_DIR/ra.sock, SOCK_SEQPACKET, mode 0600, peer must be root
// (SO_PEERCRED). One JSON request and one JSON reply a connection:
// {"op":"start","vm":"a","definition":"{...}","peer":"n2","timeout_ms":60000,"probe":false}
// {"ocf":0,"message":"..."}
#pragma once

#include "agent/service.h"

typedef struct AgentRaSocket AgentRaSocket;
AgentRaSocket *agent_ra_socket_new(Agent *agent, const char *run_dir, GError **error);
void agent_ra_socket_free(AgentRaSocket *socket);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AgentRaSocket, agent_ra_socket_free)
