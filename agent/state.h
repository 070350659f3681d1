// SPDX-License-Identifier: GPL-2.0-or-later
// What vmferryd knows and does from time to time, without its sockets and processes: the same in
// vmferryd, in the simulator and under the fuzzers. Main-loop thread only.
#pragma once

#include "agent/agent.h"

// Makes AGENT's tables, its queue and its outbox.
void agent_state_init(Agent *agent);
// Frees them; what the VMs have goes with them.
void agent_state_clear(Agent *agent);

// Each AGENT_HOUSEKEEPING_S, once the agent is ready.
void agent_state_housekeep(Agent *agent);
