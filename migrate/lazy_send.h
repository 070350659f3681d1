// SPDX-License-Identifier: GPL-2.0-or-later
// A lazy load's pages: reads what the queue says, verifies and sends it, what the guest waits for
// before all else. Private to load_lazy. One thread.
#pragma once

#include "migrate/image_reader.h"
#include "migrate/page_queue.h"
#include "migrate/reads.h"
#include "migrate/stream_out.h"

typedef struct FerryLazySend FerryLazySend;

// Borrows all; nobody else writes to OUT or uses READS meanwhile. LINEAR: in order, whatever the
// guest does, but for what it waits for.
FerryLazySend *ferry_lazy_send_new(FerryImageReader *reader, FerryReads *reads,
                                   FerryStreamOut *out, bool linear);
void ferry_lazy_send_free(FerryLazySend *send);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryLazySend, ferry_lazy_send_free)

void ferry_lazy_send_known(FerryLazySend *send, uint64_t page, uint64_t n); // QEMU has them
void ferry_lazy_send_hot(FerryLazySend *send, const GArray *pages);
// The guest waits, since ASKED_AT.
void ferry_lazy_send_fault(FerryLazySend *send, uint64_t page, uint64_t n, gint64 asked_at);
// Somebody waits for the end: the bulk goes on at full speed, even if the guest faults.
void ferry_lazy_send_hurry(FerryLazySend *send);

// Takes what was read, begins further reads and writes some pages. IDLE: nothing is left to do before
// ferry_reads_fd is readable, the guest asks for something, or WAIT_MS have gone by.
bool ferry_lazy_send_step(FerryLazySend *send, bool *idle, int *wait_ms, GError **error);
bool ferry_lazy_send_done(const FerryLazySend *send); // all that is present was sent

uint64_t ferry_lazy_send_bytes(const FerryLazySend *send); // of present pages
// How long each answered fault took (uint32_t, microseconds). Borrowed.
GArray *ferry_lazy_send_latencies(FerryLazySend *send);
