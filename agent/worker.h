// SPDX-License-Identifier: GPL-2.0-or-later
// Blocking work off the main loop: storage may hang, the agent may not.
#pragma once

#include <glib.h>

typedef void (*AgentWorkFn)(gpointer work); // on a thread of the pool
typedef void (*AgentWorkDoneFn)(gpointer work); // later, on the main loop; frees WORK

// Work items run at the same time; a caller that needs an order waits for DONE.
void agent_worker_run(AgentWorkFn run, AgentWorkDoneFn done, gpointer work);
// Drops what was not begun and waits for what was; no DONE is called any more.
void agent_worker_end(void);
