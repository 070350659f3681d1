// SPDX-License-Identifier: GPL-2.0-or-later
// Keeps a save from running away from the target that reads along: what the target has at the seal need
// not be loaded while the guest runs. Only for the first pass, while the guest works, and for a bounded
// time; a target that does not read along, or stops to, is not waited for.
#pragma once

#include "migrate/image.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct FerryLeash FerryLeash;

// How far a saver or a target is, in bytes. A zero page is not read, but QEMU has to look at it: some 16 of
// them take as long as another page.
static inline uint64_t ferry_leash_bytes(uint64_t present_pages, uint64_t zero_pages)
{
    return present_pages * FERRY_PAGE + zero_pages * (FERRY_PAGE / 16);
}

enum { FERRY_LEASH_MS = 120 * 1000 }; // a save never waits for longer, all together

FerryLeash *ferry_leash_new(void);
void ferry_leash_free(FerryLeash *leash);

// Any thread: the target has so many bytes.
void ferry_leash_ahead(FerryLeash *leash, uint64_t bytes);
// Any thread: nobody waits any more, the guest is paused.
void ferry_leash_cut(FerryLeash *leash);
// The saver has so many: waits until the target is near enough, or is not worth waiting for. LAST: no
// more are going to come before the guest may be paused, the target should have them all.
void ferry_leash_wait(FerryLeash *leash, uint64_t bytes, bool last);
