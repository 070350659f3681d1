// SPDX-License-Identifier: GPL-2.0-or-later
// Reads of a state area that go on side by side, by io_uring; where the kernel does not let us have
// it, one after the other. One thread.
#pragma once

#include "migrate/area_io.h"

typedef struct FerryReads FerryReads;

enum { FERRY_READS_MAX = 128 }; // under way

// Borrows AREA.
FerryReads *ferry_reads_new(FerryArea *area);
void ferry_reads_free(FerryReads *reads); // waits for what is under way
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryReads, ferry_reads_free)

// Begins to read; BUFFER, BYTES and OFFSET are multiples of FERRY_PAGE. Less than FERRY_READS_MAX
// are under way. Storage learns of it, and of all others since, by one of the functions below.
void ferry_reads_submit(FerryReads *reads, void *buffer, size_t bytes, uint64_t offset, void *tag);
void ferry_reads_flush(FerryReads *reads); // for who has something else to do next
unsigned ferry_reads_under_way(const FerryReads *reads);

// The TAG of a read that has ended, or NULL where none has. ERROR is set where it failed.
void *ferry_reads_next(FerryReads *reads, GError **error);
// Waits until ferry_reads_next has something; some are under way.
void ferry_reads_wait(FerryReads *reads);
// Readable as soon as ferry_reads_next may have something; -1: it has what there is at once.
int ferry_reads_fd(const FerryReads *reads);
