// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU marks all of a new RAM block as changed for its first save, whose first look at these marks
// is slow under TCG: each costs the CPUs a reset of their TLB, while the guest stands still. So
// QEMU is made to look once before it runs: it writes its memory, all of it zeros, to a small file
// of its own as a snapshot, which nobody needs.
//
// The price: from then on query-migrate tells the state of that snapshot, instead of a load's,
// until the next save. A lazy load is over when QEMU has closed its userfaultfd. Internal to
// hvcore.
#pragma once

#include "hvcore/vm_private.h"

typedef void (*HvThenFn)(HvVm *vm);

// In the launching phase, before the capability "events" is on. Calls THEN, whether it went well or
// not; at once where there is nothing to do.
void hv_clean_bits(HvVm *vm, HvLaunchMode mode, HvThenFn then);
// The migration's status in an answer to query-migrate. HV_MIGRATION_ACTIVE also stands for a lazy load
// that waits for another pager, where QEMU does not tell.
HvMigrationStatus hv_clean_bits_status(const HvVm *vm, json_t *result);
