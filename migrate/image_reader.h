// SPDX-License-Identifier: GPL-2.0-or-later
// Opens a sealed image and verifies everything but its pages, which are verified as they are read.
#pragma once

#include "migrate/reads.h"

typedef struct FerryImageReader FerryImageReader;

// Borrows AREA. FERRY_ERROR_STATE: the record is not SEALED with EPOCH. FERRY_ERROR_CORRUPT:
// descriptor, index or device state do not match their CRC32C, or say what cannot be.
FerryImageReader *ferry_image_reader_open(FerryArea *area, uint64_t epoch, GError **error);
// The same without the index, whatever the size of the guest: read by ferry_image_reader_need.
FerryImageReader *ferry_image_reader_open_lazy(FerryArea *area, uint64_t epoch, GError **error);
// The same for a guest that runs on this image already and has not got all of it: the record may be
// CONSUMED by that guest, which is EPOCH + 1.
FerryImageReader *ferry_image_reader_open_again(FerryArea *area, uint64_t epoch, GError **error);
void ferry_image_reader_free(FerryImageReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryImageReader, ferry_image_reader_free)

// The QEMU that loads it has RAM block NAME in huge pages. FERRY_ERROR_CORRUPT: no such block, or its
// length is no multiple of them.
bool ferry_image_reader_set_huge(FerryImageReader *reader, const char *name, GError **error);

const FerryRecord *ferry_image_reader_record(const FerryImageReader *reader);
const FerryDescriptor *ferry_image_reader_descriptor(const FerryImageReader *reader);
// What QEMU wrote after RAM: descriptor's tail_length bytes, borrowed.
const uint8_t *ferry_image_reader_tail(const FerryImageReader *reader);
// The pages to send first, the most urgent first (uint64_t); the caller frees it.
GArray *ferry_image_reader_hot(FerryImageReader *reader, GError **error);

// Reads and verifies the index for N pages from PAGE on, where that was not done yet. Any thread.
bool ferry_image_reader_need(FerryImageReader *reader, uint64_t page, uint64_t n, GError **error);
// The same for index blocks BLOCKS (ascending; those that are known are read once more), side by side
// by READS, which has nothing under way.
bool ferry_image_reader_need_blocks(FerryImageReader *reader, FerryReads *reads,
                                    const uint64_t *blocks, size_t n, GError **error);
// Compares the whole index with the record's number of pages; reads what was not read yet.
bool ferry_image_reader_check(FerryImageReader *reader, GError **error);
// Of a page whose index was read.
FerryPageState ferry_image_reader_state(const FerryImageReader *reader, uint64_t page);
uint32_t ferry_image_reader_generation(const FerryImageReader *reader, uint64_t page);

uint64_t ferry_image_reader_offset(const FerryImageReader *reader, uint64_t page); // in the area
// Whether BYTES, read there, are what the index says of PAGE, which is present.
bool ferry_image_reader_verify(const FerryImageReader *reader, uint64_t page, const uint8_t *bytes,
                               GError **error);
// Reads N pages, all of them present, and verifies them. Any thread; several at the same time.
bool ferry_image_reader_pages(FerryImageReader *reader, uint64_t page, size_t n, uint8_t *buffer,
                              GError **error);
uint64_t ferry_image_reader_bytes(const FerryImageReader *reader); // read from storage so far
void ferry_image_reader_count(FerryImageReader *reader, uint64_t bytes); // that somebody else read
