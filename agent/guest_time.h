// SPDX-License-Identifier: GPL-2.0-or-later
// The time of day of a guest that stood still. Its clock did, too, and is set by the guest agent where
// the VM has one: beside everything else, which neither waits for it nor fails with it. The outcome is
// an event, vm.time-set or vm.time-not-set.
#pragma once

#include "agent/vm.h"

// The guest runs again. Nothing happens where the VM is not running, or has no guest agent.
void agent_guest_time_begin(AgentVm *vm);
// The VM is stopped, saved or moved, or its QEMU gone: nothing is told.
void agent_guest_time_end(AgentVm *vm);
