// SPDX-License-Identifier: GPL-2.0-or-later
// The first part of a lazy load, while another node still saves: pages go to QEMU as they come to
// storage (migrate/preload.h), as in the first phase of QEMU's own postcopy. What turns out to have
// changed when the image is sealed is taken back. Private to load_lazy and the pager.
#pragma once

#include "migrate/commands.h"
#include "migrate/image_reader.h"
#include "migrate/reads.h"
#include "migrate/stream_out.h"

typedef struct FerryLoadAhead FerryLoadAhead;

// Borrows AREA, READS and FD, QEMU's incoming socket. EPOCH: of the image.
FerryLoadAhead *ferry_load_ahead_new(FerryArea *area, FerryReads *reads, int fd, uint64_t epoch);
void ferry_load_ahead_free(FerryLoadAhead *ahead);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryLoadAhead, ferry_load_ahead_free)

// Blocks until COMMANDS has input or ends; meanwhile tells how many bytes of pages QEMU has got, 40
// times a second at most. Only a QEMU that went away is an error.
bool ferry_load_ahead_run(FerryLoadAhead *ahead, FerryCommands *commands,
                          void (*tell)(uint64_t bytes), GError **error);

// Takes back from QEMU what is not in READER's image, which is sealed, and returns the stream, ready
// for the package; the caller frees it. NULL without error: nothing was sent.
FerryStreamOut *ferry_load_ahead_settle(FerryLoadAhead *ahead, FerryImageReader *reader,
                                        GError **error);
// After that: how many pages QEMU has from *PAGE on, which is moved on to the first; 0 = no more.
uint64_t ferry_load_ahead_run_from(const FerryLoadAhead *ahead, uint64_t *page);
// Once READER's index was read as a whole: compares all that QEMU was left with.
bool ferry_load_ahead_verify(const FerryLoadAhead *ahead, FerryImageReader *reader,
                             GError **error);
uint64_t ferry_load_ahead_bytes(const FerryLoadAhead *ahead); // read from storage
