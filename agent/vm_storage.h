// SPDX-License-Identifier: GPL-2.0-or-later
// What a VM's storage has to do with its life: file systems that only the owner mounts follow it.
#pragma once

#include "agent/vm.h"

// Mounts what only the owner mounts, then checks what lies there; before QEMU is started for
// RECORD. DONE is called at once where there is nothing to mount. Until then the VM cannot be told
// stopped (vm->mounts).
void agent_vm_mount(AgentVm *vm, const FerryRecord *record, AgentRecordFn done);
// Whether something has to be given back before the VM can be told stopped here.
bool agent_vm_holds_storage(const AgentVm *vm);
// Gives it back; its QEMU is proven gone. DONE with an error: something is still mounted here.
void agent_vm_give_back(AgentVm *vm, AgentVmDone done);
