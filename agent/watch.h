// SPDX-License-Identifier: GPL-2.0-or-later
// Jobs whose work Pacemaker does: they end when the cluster shows the result.
#pragma once

#include "agent/agent.h"

enum {
    AGENT_WATCH_START_S = 360, // until a job gives up; what Pacemaker does may go on
    AGENT_WATCH_STOP_S = 360,
};

// Starts a job KIND that is done when NAME runs somewhere, and failed when every node has tried and
// failed, or after a while.
AgentJob *agent_watch_started(Agent *agent, const char *kind, const char *name);
// Starts a job KIND that is done when no node has a QEMU of NAME.
AgentJob *agent_watch_stopped(Agent *agent, const char *kind, const char *name);
