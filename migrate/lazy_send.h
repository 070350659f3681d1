// SPDX-License-Identifier: GPL-2.0-or-later
// The threads of a lazy load: they read what the queue says, verify it and send it, what the guest
// waits for before all else. Private to load_lazy.
#pragma once

#include "migrate/image_reader.h"
#include "migrate/page_queue.h"
#include "migrate/stream_out.h"

typedef struct FerryLazySend FerryLazySend;

// Borrows READER and OUT, of which nobody else may write until the end.
FerryLazySend *ferry_lazy_send_new(FerryImageReader *reader, FerryStreamOut *out);
void ferry_lazy_send_free(FerryLazySend *send); // stops and joins the threads
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryLazySend, ferry_lazy_send_free)

// The functions below may be called on any thread.

void ferry_lazy_send_hot(FerryLazySend *send, const GArray *pages);
void ferry_lazy_send_fault(FerryLazySend *send, uint64_t page, uint64_t n); // the guest waits
void ferry_lazy_send_known(FerryLazySend *send, uint64_t page);             // QEMU has it already
// Ends everything; the first error counts, later ones are freed. Takes ERROR.
void ferry_lazy_send_fail(FerryLazySend *send, GError *error);
void ferry_lazy_send_start(FerryLazySend *send); // pages may be sent from now on

typedef enum { FERRY_LAZY_GOES_ON, FERRY_LAZY_SENT, FERRY_LAZY_FAILED } FerryLazyState;

// Waits for the end, TIMEOUT_US at most. BYTES: of pages that were sent.
FerryLazyState ferry_lazy_send_wait(FerryLazySend *send, gint64 timeout_us, uint64_t *bytes,
                                    GError **error);
// Joins the threads: the stream is the caller's again. What is asked for later is not answered.
void ferry_lazy_send_stop(FerryLazySend *send);
// How long each answered fault took (uint32_t, microseconds); after the stop. Borrowed.
GArray *ferry_lazy_send_latencies(FerryLazySend *send);
