// SPDX-License-Identifier: GPL-2.0-or-later
// Reads pages that lie apart in a state area into one buffer, side by side.
#pragma once

#include "migrate/reads.h"

// PAGES: N numbers, ascending; number p lies at BASE + p * FERRY_PAGE of the area, and comes to BUFFER
// in PAGES' order. Blocks until all reads have ended, whatever comes of one; nothing else is under way
// in READS. The error is the first read's that failed.
bool ferry_gather(FerryReads *reads, uint64_t base, const uint64_t *pages, size_t n,
                  uint8_t *buffer, GError **error);
