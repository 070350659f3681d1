// SPDX-License-Identifier: GPL-2.0-or-later
// Writes one image into a state area while the guest still runs: pages in place, the index behind
// them, a journal of the index for whoever reads along (migrate/preload.h), and at the end only what
// changed last. One thread.
#pragma once

#include "migrate/area_io.h"

typedef struct FerryImageWriter FerryImageWriter;

typedef struct {
    uint64_t present, zero; // pages
    uint64_t bytes_written; // to storage
    uint64_t bytes_pending; // on their way there
    uint32_t passes;        // over RAM, as the order of pages tells
    uint64_t ram_bytes;
} FerryImageCounts;

// Borrows AREA, whose record has to be SAVING by now: an image that was there is overwritten. SAVE:
// that record's sequence.
FerryImageWriter *ferry_image_writer_new(FerryArea *area, uint64_t epoch, uint64_t save);
void ferry_image_writer_free(FerryImageWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryImageWriter, ferry_image_writer_free)

bool ferry_image_writer_config(FerryImageWriter *writer, const uint8_t *bytes, size_t length,
                               GError **error);
// FERRY_ERROR_TOO_SMALL where the area cannot hold these blocks.
bool ferry_image_writer_blocks(FerryImageWriter *writer, const FerryBlock *blocks,
                               uint32_t n_blocks, uint64_t total_pages, GError **error);
bool ferry_image_writer_zero(FerryImageWriter *writer, uint64_t page, GError **error);
bool ferry_image_writer_page(FerryImageWriter *writer, uint64_t page, const uint8_t *bytes,
                             GError **error);
// Whoever reads along can read all that has come so far.
bool ferry_image_writer_publish(FerryImageWriter *writer, GError **error);
// RAM is complete: begins to write what is left.
bool ferry_image_writer_ram_end(FerryImageWriter *writer, GError **error);
// The device state; then everything is flushed and IMAGE says where it is.
bool ferry_image_writer_finish(FerryImageWriter *writer, const uint8_t *tail, size_t length,
                               size_t device_length, FerryImage *image, GError **error);

void ferry_image_writer_counts(const FerryImageWriter *writer, FerryImageCounts *counts);
