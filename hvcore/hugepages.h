// SPDX-License-Identifier: GPL-2.0-or-later
// This node's pool of huge pages of HV_HUGEPAGE_MIB, as Linux has it in sysfs
// (Documentation/admin-guide/mm/hugetlbpage.rst).
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t total;
    uint64_t available; // free, and not promised to a process either
} HvHugepages;

// False: the kernel has none of this size. Any thread.
bool hv_hugepages_look(HvHugepages *pages);
