// SPDX-License-Identifier: GPL-2.0-or-later
// vmferryd's agent without a cluster: the whole of it, but corosync and Pacemaker are fakes that
// know one VM, and no disk or state area can be reached. So whatever is asked of it, it starts
// nothing.
#pragma once

#include "agent/agent.h"

#define FIXTURE_NODE "n1"
#define FIXTURE_VM "web" // in the CIB

// Once: directories.
void agent_fixture_init(void);
const char *agent_fixture_run_dir(void);
// A ready agent. The caller ends it.
Agent *agent_fixture_new(void);
void agent_fixture_free(Agent *agent);
