// SPDX-License-Identifier: GPL-2.0-or-later
// What each operation does. Each returns an OCF exit code and has told the reason where it is not
// OCF_SUCCESS or OCF_NOT_RUNNING.
#pragma once

#include "resource-agents/operation.h"

enum {
    MONITOR_LOOK_MS = 2000, // for a QEMU to say its state, where vmferryd is down
    // A stop. Where Pacemaker gives it less than two minutes, these are parts of that:
    STOP_AGENT_WAIT_MS = 60 * 1000, // for a vmferryd that is down: systemd restarts it within seconds
    STOP_END_MS = 30 * 1000,        // kept for ending QEMU ourselves, where vmferryd is of no help
    STOP_KILL_MS = 20 * 1000,       // of that: SIGKILL waits for I/O under way
    STOP_ANSWER_MS = 500,           // left for our own end
};

int action_monitor(const Operation *operation);
int action_stop(const Operation *operation);
// start, migrate_to, migrate_from and reload-agent: the agent does them or nobody.
int action_by_agent(const Operation *operation);
// The same for those that need a sound definition (start, reload-agent): one that the admin has to
// mend first is not worth waiting for the agent.
int action_by_agent_checked(const Operation *operation);
int action_validate_all(const Operation *operation);
