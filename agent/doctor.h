// SPDX-License-Identifier: GPL-2.0-or-later
// `vmferry doctor`: the node that is asked has each node tell the time and look at itself, and
// judges (agent/doctor_report.h). The admin's side is agent_service_doctor.
#pragma once

#include "agent/agent.h"

enum { DOCTOR_WAIT_MS = 12 * 1000 }; // for all nodes; what a node has not said then is unknown

// Another node's questions (agent/calls.h): {"now_us": microseconds since 1970}, at once;
void agent_doctor_clock(Agent *agent, AgentReplyFn reply, gpointer data);
// and the sections of agent/doctor_collect.h.
void agent_doctor_inspect(Agent *agent, AgentReplyFn reply, gpointer data);
