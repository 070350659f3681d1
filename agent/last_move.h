// SPDX-License-Identifier: GPL-2.0-or-later
// What a VM's last move was like, kept where the VM runs: in RUN_DIR/NAME/last_move.json, so that a
// restart of the agent does not forget it.
#pragma once

#include "agent/vm.h"

// Notes EVENT (borrowed) if it tells the end of a move of a VM that this node has.
void agent_last_move_see(Agent *agent, json_t *event);
void agent_last_move_load(AgentVm *vm);
