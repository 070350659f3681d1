// SPDX-License-Identifier: GPL-2.0-or-later
// A record on a disk every few milliseconds, for whoever watches the disk from outside: nothing
// lost, nothing twice, no second copy of the guest. The kernel's command line asks for it:
// guest.journal=DISK:MS (vdb:10). Record N is sector N of the disk:
//
//   0    magic "0jrnlfmv", as a little-endian number like all that follow, 8 bytes each
//   8    N
//   16   id of the boot
//   24   the guest's counter
//   32   CLOCK_MONOTONIC in ns
//   40   sum of record N - 1, of an earlier boot, too; 0 in the first
//   48   57 words that depend on N and the boot
//   504  sum (checksum() in numbers.h) of the 63 words before
//
// A record is written and flushed before the next one is made. One that the disk refuses is written
// again until it is there.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

// Does nothing where the command line does not ask for it.
void journal_start(const atomic_ullong *counter, uint64_t boot_id);

// The number of records of all boots; 0 before the first.
uint64_t journal_records(void);
