// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/image_reader.h"

#include "migrate/crc32c.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { CHUNK_BLOCKS = 256 }; // index blocks read at once

struct FerryImageReader {
    FerryArea *area;
    FerryRecord record;
    FerryDescriptor descriptor;
    FerryIndexEntry *entries;
    uint8_t *tail;
    atomic_uint_fast64_t bytes;
};

static bool corrupt(const FerryImageReader *reader, const char *what, GError **error)
{
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT,
                "the saved memory in %s is damaged: %s; nothing of it was used. `vmferry discard "
                "%s` throws it away, the next start is a cold one",
                ferry_area_path(reader->area), what, reader->record.vm);
    return false;
}

static bool corrupt_because(const FerryImageReader *reader, GError *why, GError **error)
{
    corrupt(reader, why->message, error);
    g_error_free(why);
    return false;
}

static bool read_aligned(FerryImageReader *reader, uint8_t *buffer, size_t length, uint64_t offset,
                         GError **error)
{
    size_t whole = (length + FERRY_PAGE - 1) / FERRY_PAGE * FERRY_PAGE;
    atomic_fetch_add(&reader->bytes, whole);
    return ferry_area_read(reader->area, buffer, whole, offset, error);
}

static bool read_record(FerryImageReader *reader, uint64_t epoch, GError **error)
{
    FerryRecord *record = &reader->record;
    if (!ferry_area_read_record(reader->area, record, error))
        return false;
    if (record->state == FERRY_SEALED && record->epoch == epoch)
        return true;
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_STATE,
                "%s is %s with epoch %" G_GUINT64_FORMAT ", not sealed with epoch "
                "%" G_GUINT64_FORMAT ": its saved memory is not loaded",
                ferry_area_path(reader->area), ferry_state_name(record->state), record->epoch,
                epoch);
    return false;
}

static bool read_descriptor(FerryImageReader *reader, GError **error)
{
    const FerryImage *image = &reader->record.image;
    if (image->descriptor_offset != FERRY_DESCRIPTOR_OFFSET || image->descriptor_length == 0 ||
        image->descriptor_length > FERRY_DESCRIPTOR_MAX)
        return corrupt(reader, "the record's place of the descriptor", error);
    g_autoptr(GError) why = NULL;
    uint8_t *bytes = ferry_buffer_new(FERRY_DESCRIPTOR_MAX);
    bool fine = read_aligned(reader, bytes, image->descriptor_length, image->descriptor_offset,
                             error);
    if (fine && ferry_crc32c(0, bytes, image->descriptor_length) != image->descriptor_crc32c)
        fine = corrupt(reader, "the descriptor has a wrong CRC32C", error);
    if (fine && !ferry_descriptor_decode(&reader->descriptor, bytes, image->descriptor_length,
                                         ferry_area_size(reader->area), &why))
        fine = corrupt_because(reader, g_steal_pointer(&why), error);
    free(bytes);
    if (fine && reader->descriptor.epoch != reader->record.epoch)
        return corrupt(reader, "the descriptor is of another epoch", error);
    return fine;
}

static bool read_tail(FerryImageReader *reader, GError **error)
{
    const FerryDescriptor *descriptor = &reader->descriptor;
    reader->tail = ferry_buffer_new((descriptor->tail_length + FERRY_PAGE - 1) / FERRY_PAGE *
                                    FERRY_PAGE);
    if (!read_aligned(reader, reader->tail, descriptor->tail_length, FERRY_DEVICE_OFFSET, error))
        return false;
    return ferry_crc32c(0, reader->tail, descriptor->tail_length) == descriptor->device_crc32c ||
           corrupt(reader, "the device state has a wrong CRC32C", error);
}

static bool read_index_chunk(FerryImageReader *reader, uint8_t *buffer, uint64_t first, uint64_t n,
                             GError **error)
{
    const FerryDescriptor *descriptor = &reader->descriptor;
    if (!read_aligned(reader, buffer, n * FERRY_PAGE,
                      descriptor->index_offset + first * FERRY_PAGE, error))
        return false;
    for (uint64_t i = 0; i < n; i++) {
        g_autoptr(GError) why = NULL;
        if (!ferry_index_decode(reader->entries + (first + i) * FERRY_ENTRIES, first + i,
                                descriptor->epoch, buffer + i * FERRY_PAGE, &why))
            return corrupt_because(reader, g_steal_pointer(&why), error);
    }
    return true;
}

static bool count_present(FerryImageReader *reader, GError **error)
{
    uint64_t present = 0;
    for (uint64_t page = 0; page < reader->descriptor.total_pages; page++)
        present += reader->entries[page].state == FERRY_PAGE_PRESENT;
    return present == reader->record.image.present_pages ||
           corrupt(reader, "index and record count different numbers of pages", error);
}

static bool read_index(FerryImageReader *reader, GError **error)
{
    uint64_t blocks = reader->descriptor.index_blocks;
    uint8_t *buffer = ferry_buffer_new((size_t)CHUNK_BLOCKS * FERRY_PAGE);
    reader->entries = g_new(FerryIndexEntry, blocks * FERRY_ENTRIES);
    bool fine = true;
    for (uint64_t at = 0; fine && at < blocks; at += CHUNK_BLOCKS)
        fine = read_index_chunk(reader, buffer, at, MIN(blocks - at, (uint64_t)CHUNK_BLOCKS),
                                error);
    free(buffer);
    return fine && count_present(reader, error);
}

FerryImageReader *ferry_image_reader_open(FerryArea *area, uint64_t epoch, GError **error)
{
    g_autoptr(FerryImageReader) reader = g_new0(FerryImageReader, 1);
    reader->area = area;
    if (!read_record(reader, epoch, error) || !read_descriptor(reader, error) ||
        !read_tail(reader, error) || !read_index(reader, error))
        return NULL;
    return g_steal_pointer(&reader);
}

void ferry_image_reader_free(FerryImageReader *reader)
{
    if (reader == NULL)
        return;
    g_free(reader->entries);
    free(reader->tail);
    g_free(reader);
}

const FerryRecord *ferry_image_reader_record(const FerryImageReader *reader)
{
    return &reader->record;
}

const FerryDescriptor *ferry_image_reader_descriptor(const FerryImageReader *reader)
{
    return &reader->descriptor;
}

const uint8_t *ferry_image_reader_tail(const FerryImageReader *reader)
{
    return reader->tail;
}

FerryPageState ferry_image_reader_state(const FerryImageReader *reader, uint64_t page)
{
    return (FerryPageState)reader->entries[page].state;
}

bool ferry_image_reader_pages(FerryImageReader *reader, uint64_t page, size_t n, uint8_t *buffer,
                              GError **error)
{
    uint64_t offset = reader->descriptor.pages_offset + page * FERRY_PAGE;
    if (!read_aligned(reader, buffer, n * FERRY_PAGE, offset, error))
        return false;
    for (size_t i = 0; i < n; i++)
        if (ferry_crc32c(0, buffer + i * FERRY_PAGE, FERRY_PAGE) !=
            reader->entries[page + i].crc32c) {
            g_autofree char *what =
                g_strdup_printf("page %" G_GUINT64_FORMAT " (offset %" G_GUINT64_FORMAT
                                ") has a wrong CRC32C",
                                page + i, offset + i * FERRY_PAGE);
            return corrupt(reader, what, error);
        }
    return true;
}

uint64_t ferry_image_reader_bytes(const FerryImageReader *reader)
{
    return atomic_load(&reader->bytes);
}
