// SPDX-License-Identifier: GPL-2.0-or-later
// What an agent does for another one that an admin happened to ask.
#pragma once

#include "agent/agent.h"

// Serves OP with ARGS (borrowed): "migrate" {"vm","to"}, "stop-mode" {"vm","mode"}; "clock" and
// "inspect" {} (agent/doctor.h).
void agent_calls_serve(Agent *agent, const char *op, json_t *args, AgentReplyFn reply,
                       gpointer data);
