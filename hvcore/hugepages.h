// SPDX-License-Identifier: GPL-2.0-or-later
// This node's pool of huge pages of HV_HUGEPAGE_MIB, as Linux has it in sysfs
// (Documentation/admin-guide/mm/hugetlbpage.rst).
#pragma once

#include "hvcore/definition.h"

#include <stdbool.h>
#include <stdint.h>

#define HV_HUGEPAGE_BLOCK "pc.ram" // QEMU's name of the RAM block that is made of them

typedef struct {
    uint64_t total;
    uint64_t available; // free, and not promised to a process either
} HvHugepages;

// False: the kernel has none of this size. Any thread.
bool hv_hugepages_look(HvHugepages *pages);

// QEMU's name of the RAM block that is made of huge pages; NULL: DEFINITION wants none.
const char *hv_hugepages_block(const HvDefinition *definition);
