// SPDX-License-Identifier: GPL-2.0-or-later
// Storage as an admin asks for it: one node does it, and all nodes are asked. Main loop.
#pragma once

#include "agent/agent.h"

enum { AGENT_STORAGE_REPORT_MS = 10 * 1000 }; // for the answers of all nodes

// On this node: ACTION "report" (of VM, or of all where it is NULL), "rehearse" (the storage is
// made available, and the node could run the VM), "login" or "logout" (of VM). RESULT: [{"vm",
// "storage": as storage_report, "error": text or null}].
void agent_storage_serve(Agent *agent, const char *action, const char *vm, AgentReplyFn reply,
                         gpointer data);
