// SPDX-License-Identifier: GPL-2.0-or-later
// Reads an image along while another node still writes it, so that little is left to load when it is
// sealed. What it reads is a guess until then: ferry_preload_settle compares it with the sealed
// index, and what is not the same page in the same generation counts as never loaded. Never writes.
// One thread.
#pragma once

#include "migrate/image_reader.h"
#include "migrate/reads.h"

typedef struct FerryPreload FerryPreload;

// Called from ferry_preload_step; FALSE with ERROR ends it all.
typedef struct {
    bool (*begin)(const FerryDescriptor *descriptor, void *env, GError **error); // before any page
    // A page that is verified; NULL: zero. It may come again with other contents.
    bool (*page)(uint64_t page, const uint8_t *bytes, void *env, GError **error);
    bool (*flush)(void *env, GError **error); // the pages' bytes go away after it
    bool (*is_over)(void *env); // asked within a step: it ends, and ferry_preload_stop comes next
} FerryPreloadEvents;

// Borrows AREA and READS, which nobody else uses until ferry_preload_stop. EPOCH: of the image.
FerryPreload *ferry_preload_new(FerryArea *area, FerryReads *reads, uint64_t epoch,
                                const FerryPreloadEvents *events, void *env);
void ferry_preload_free(FerryPreload *preload);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryPreload, ferry_preload_free)

// Does what can be done now; NOW_US is monotonic. MORE_IN_MS: when to come again, if ferry_reads_fd is not readable
// before. Storage that fails is no error: what was loaded so far stays.
bool ferry_preload_step(FerryPreload *preload, gint64 now_us, int *more_in_ms, GError **error);
// Drops the reads that are under way; no step comes after it.
void ferry_preload_stop(FerryPreload *preload);

// As it is while the save goes on; NULL: nothing was loaded.
const FerryDescriptor *ferry_preload_descriptor(const FerryPreload *preload);
bool ferry_preload_has(const FerryPreload *preload, uint64_t page);
// How many were loaded from *PAGE on, which is moved on to the first of them; 0 = no more.
uint64_t ferry_preload_run_from(const FerryPreload *preload, uint64_t *page);
// QEMU got it after the stop: it counts as loaded. READER's index for PAGE is read.
void ferry_preload_add(FerryPreload *preload, FerryImageReader *reader, uint64_t page);
uint64_t ferry_preload_soon(const FerryPreload *preload); // bytes that storage delivers in some ms
uint64_t ferry_preload_bytes(const FerryPreload *preload); // read from storage
uint64_t ferry_preload_taken(const FerryPreload *preload); // pages that were right and not zero
uint64_t ferry_preload_zeros(const FerryPreload *preload); // zero pages

// After the stop; READER has the sealed image. Forgets the pages that are not what the image has, and
// appends them to STALE (uint64_t, ascending). False without error: it is
// another save's image, nothing that was loaded counts. Reads index blocks that changed last only.
bool ferry_preload_settle(FerryPreload *preload, FerryImageReader *reader, GArray *stale,
                          GError **error);
// Whether each page that counted as loaded is what the whole index says. READER's index is read.
bool ferry_preload_verify(const FerryPreload *preload, FerryImageReader *reader, GError **error);
