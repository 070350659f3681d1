// SPDX-License-Identifier: GPL-2.0-or-later
// A guest whose disk has no space left: QEMU keeps the request and pauses the guest, which loses
// nothing. It is continued again and again, until the request succeeds.
#pragma once

#include "agent/vm.h"

// Called at each change of the VM's state and of its QEMU's. A move, save or stop goes on as usual;
// the requests go with the guest.
void agent_disk_wait_look(AgentVm *vm);
void agent_disk_wait_end(AgentVm *vm);
