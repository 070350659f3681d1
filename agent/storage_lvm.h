// SPDX-License-Identifier: GPL-2.0-or-later
// Logical volumes on a shared volume group. Who may use one is LVM's business: lvmlockd where the
// volume group has it. Internal to agent/storage*.c; blocking, on any thread.
#pragma once

#include "agent/storage_device.h"

// Activates the LV, shared where lvmlockd looks after its volume group, and finds its device.
// HV_ERROR_RESOURCE: it is not there, belongs to another node, or is of a kind that only one node
// may use.
bool storage_lvm_open(const HvStorage *storage, StorageDevice *device, GError **error);
// Deactivates it. HV_ERROR_RESOURCE: it is in use.
bool storage_lvm_close(const HvStorage *storage, GError **error);
