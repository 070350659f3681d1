// SPDX-License-Identifier: GPL-2.0-or-later
// Writes the stream that QEMU loads a guest from (QEMU-FACTS; migration/ram.c, savevm.c). Blocks on
// the socket. Each function: FERRY_ERROR_STREAM when QEMU went away.
#pragma once

#include "migrate/image.h"

typedef struct FerryStreamOut FerryStreamOut;

// Borrows FD, a connected stream socket, and DESCRIPTOR.
FerryStreamOut *ferry_stream_out_new(int fd, const FerryDescriptor *descriptor);
void ferry_stream_out_free(FerryStreamOut *out);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryStreamOut, ferry_stream_out_free)

// Magic, configuration, RAM's start with the list of blocks.
bool ferry_stream_out_head(FerryStreamOut *out, GError **error);
// Pages between head and tail, or in parts, in any order. BYTES has to stay until the next flush.
bool ferry_stream_out_page(FerryStreamOut *out, uint64_t page, const uint8_t *bytes,
                           GError **error);
bool ferry_stream_out_zero(FerryStreamOut *out, uint64_t page, GError **error);
bool ferry_stream_out_flush(FerryStreamOut *out, GError **error);
// RAM's end and what QEMU wrote after it; flushes.
bool ferry_stream_out_tail(FerryStreamOut *out, const uint8_t *tail, GError **error);

// The lazy way: head, package, parts with pages, end. The head tells QEMU to forget what it has in
// RAM and to ask for pages; parts that come before the package are loaded as they come; the package (TAIL's device state) makes it ready to run.
bool ferry_stream_out_lazy_head(FerryStreamOut *out, GError **error);
// Between head and package: takes pages back that were sent (ascending within a RAM block), or all.
bool ferry_stream_out_discard(FerryStreamOut *out, const uint64_t *pages, size_t n, GError **error);
bool ferry_stream_out_discard_all(FerryStreamOut *out, GError **error);
// From now on the stream is of DESCRIPTOR, which has the same RAM blocks.
void ferry_stream_out_image(FerryStreamOut *out, const FerryDescriptor *descriptor);
bool ferry_stream_out_package(FerryStreamOut *out, const uint8_t *tail, GError **error);
bool ferry_stream_out_part(FerryStreamOut *out, GError **error);
bool ferry_stream_out_part_end(FerryStreamOut *out, GError **error); // flushes
bool ferry_stream_out_lazy_end(FerryStreamOut *out, GError **error); // flushes

// After a cut, in place of head and package: which pages of each block QEMU has, then that it goes
// on.
bool ferry_stream_out_ask_bitmap(FerryStreamOut *out, const FerryBlock *block, GError **error);
bool ferry_stream_out_resume(FerryStreamOut *out, GError **error);

// How many bytes may wait between us and QEMU.
void ferry_stream_out_limit(FerryStreamOut *out, int bytes);
uint64_t ferry_stream_out_bytes(const FerryStreamOut *out); // sent so far
