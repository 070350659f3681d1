// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/image_reader.h"

#include "migrate/crc32c.h"
#include "migrate/gather.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_BLOCKS = 256, // index blocks read at once, when all are
    AHEAD_BLOCKS = 16,  // when one is needed
};

struct FerryImageReader {
    FerryArea *area;
    FerryRecord record;
    FerryDescriptor descriptor;
    FerryIndexEntry *entries; // those of an index block that was not read yet are zero
    GMutex lock;              // known, and entries while they are filled in
    uint8_t *known;           // of each index block: it was read and verified
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
    size_t whole = ferry_whole_pages(length);
    atomic_fetch_add(&reader->bytes, whole);
    return ferry_area_read(reader->area, buffer, whole, offset, error);
}

static bool read_record(FerryImageReader *reader, uint64_t epoch, bool resumed, GError **error)
{
    FerryRecord *record = &reader->record;
    if (!ferry_area_read_record(reader->area, record, error))
        return false;
    if (record->state == FERRY_SEALED && record->epoch == epoch)
        return true;
    if (resumed && record->state == FERRY_CONSUMED && record->epoch == epoch + 1)
        return true;
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_STATE,
                "%s is %s with epoch %" G_GUINT64_FORMAT ", not sealed with epoch "
                "%" G_GUINT64_FORMAT ": its saved memory is not loaded",
                ferry_area_path(reader->area), ferry_state_name(record->state), record->epoch,
                epoch);
    return false;
}

static bool read_descriptor(FerryImageReader *reader, uint64_t epoch, GError **error)
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
    if (fine && reader->descriptor.epoch != epoch)
        return corrupt(reader, "the descriptor is of another epoch", error);
    return fine;
}

static bool read_tail(FerryImageReader *reader, GError **error)
{
    const FerryDescriptor *descriptor = &reader->descriptor;
    if (descriptor->tail_length == 0)
        return corrupt(reader, "the descriptor has no device state", error);
    reader->tail = ferry_buffer_new(ferry_whole_pages(descriptor->tail_length));
    if (!read_aligned(reader, reader->tail, descriptor->tail_length, FERRY_DEVICE_OFFSET, error))
        return false;
    return ferry_crc32c(0, reader->tail, descriptor->tail_length) == descriptor->device_crc32c ||
           corrupt(reader, "the device state has a wrong CRC32C", error);
}

// --- index ---

static bool is_known(FerryImageReader *reader, uint64_t block)
{
    g_mutex_lock(&reader->lock);
    bool known = reader->known[block];
    g_mutex_unlock(&reader->lock);
    return known;
}

// Two threads may do this for the same block: the first one's entries stay.
static bool decode_block(FerryImageReader *reader, uint64_t block, const uint8_t *bytes,
                         GError **error)
{
    FerryIndexEntry entries[FERRY_ENTRIES];
    g_autoptr(GError) why = NULL;
    if (!ferry_index_decode(entries, block, &reader->descriptor, bytes, &why))
        return corrupt_because(reader, g_steal_pointer(&why), error);
    g_mutex_lock(&reader->lock);
    if (!reader->known[block])
        memcpy(reader->entries + block * FERRY_ENTRIES, entries, sizeof entries);
    reader->known[block] = true;
    g_mutex_unlock(&reader->lock);
    return true;
}

static bool read_blocks(FerryImageReader *reader, uint64_t first, uint64_t n, GError **error)
{
    uint8_t *buffer = ferry_buffer_new(n * FERRY_PAGE);
    bool fine = read_aligned(reader, buffer, n * FERRY_PAGE,
                             reader->descriptor.index_offset + first * FERRY_PAGE, error);
    for (uint64_t i = 0; fine && i < n; i++)
        fine = decode_block(reader, first + i, buffer + i * FERRY_PAGE, error);
    free(buffer);
    return fine;
}

bool ferry_image_reader_need(FerryImageReader *reader, uint64_t page, uint64_t n, GError **error)
{
    uint64_t block = page / FERRY_ENTRIES, end = (page + n - 1) / FERRY_ENTRIES + 1;
    while (block < end && is_known(reader, block))
        block++;
    if (block == end)
        return true;
    // What follows is needed soon, too, and costs next to nothing with the same read.
    end = MIN(MAX(end, block + AHEAD_BLOCKS), reader->descriptor.index_blocks);
    return read_blocks(reader, block, end - block, error);
}

static bool gather_blocks(FerryImageReader *reader, FerryReads *reads, const uint64_t *blocks,
                          size_t n, GError **error)
{
    uint8_t *buffer = ferry_buffer_new(n * FERRY_PAGE);
    atomic_fetch_add(&reader->bytes, n * FERRY_PAGE);
    bool fine = ferry_gather(reads, reader->descriptor.index_offset, blocks, n, buffer, error);
    for (size_t i = 0; fine && i < n; i++)
        fine = decode_block(reader, blocks[i], buffer + i * FERRY_PAGE, error);
    free(buffer);
    return fine;
}

bool ferry_image_reader_need_blocks(FerryImageReader *reader, FerryReads *reads,
                                    const uint64_t *blocks, size_t n, GError **error)
{
    for (size_t at = 0; at < n; at += CHUNK_BLOCKS)
        if (!gather_blocks(reader, reads, blocks + at, MIN(n - at, (size_t)CHUNK_BLOCKS), error))
            return false;
    return true;
}

static bool read_index(FerryImageReader *reader, GError **error)
{
    uint64_t blocks = reader->descriptor.index_blocks;
    for (uint64_t at = 0; at < blocks; at += CHUNK_BLOCKS)
        if (!read_blocks(reader, at, MIN(blocks - at, (uint64_t)CHUNK_BLOCKS), error))
            return false;
    return true;
}

bool ferry_image_reader_check(FerryImageReader *reader, GError **error)
{
    uint64_t present = 0;
    for (uint64_t page = 0; page < reader->descriptor.total_pages; page += FERRY_ENTRIES)
        if (!ferry_image_reader_need(reader, page, 1, error))
            return false;
    for (uint64_t page = 0; page < reader->descriptor.total_pages; page++)
        present += ferry_entry_state(reader->entries[page]) == FERRY_PAGE_PRESENT;
    return present == reader->record.image.present_pages ||
           corrupt(reader, "index and record count different numbers of pages", error);
}

// --- hot list ---

static bool decode_hot(const FerryImageReader *reader, const uint8_t *bytes, GArray *hot,
                       GError **error)
{
    const FerryDescriptor *descriptor = &reader->descriptor;
    size_t length = descriptor->hot_count * sizeof(uint64_t);
    if (ferry_crc32c(0, bytes, length) != descriptor->hot_crc32c)
        return corrupt(reader, "the hot list has a wrong CRC32C", error);
    for (uint32_t i = 0; i < descriptor->hot_count; i++) {
        uint64_t page;
        memcpy(&page, bytes + i * sizeof page, sizeof page);
        page = GUINT64_FROM_LE(page);
        if (page >= descriptor->total_pages)
            return corrupt(reader, "the hot list names a page that is none", error);
        g_array_append_val(hot, page);
    }
    return true;
}

GArray *ferry_image_reader_hot(FerryImageReader *reader, GError **error)
{
    g_autoptr(GArray) hot = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    size_t length = reader->descriptor.hot_count * sizeof(uint64_t);
    if (length == 0)
        return g_steal_pointer(&hot);
    uint8_t *bytes = ferry_buffer_new(ferry_whole_pages(length));
    bool fine = read_aligned(reader, bytes, length, FERRY_HOT_OFFSET, error) &&
                decode_hot(reader, bytes, hot, error);
    free(bytes);
    return fine ? g_steal_pointer(&hot) : NULL;
}

// --- opening ---

static FerryImageReader *open_without_index(FerryArea *area, uint64_t epoch, bool resumed,
                                            GError **error)
{
    g_autoptr(FerryImageReader) reader = g_new0(FerryImageReader, 1);
    g_mutex_init(&reader->lock);
    reader->area = area;
    if (!read_record(reader, epoch, resumed, error) || !read_descriptor(reader, epoch, error) ||
        !read_tail(reader, error))
        return NULL;
    // calloc: untouched memory costs nothing, however large the guest is.
    uint64_t blocks = reader->descriptor.index_blocks;
    reader->entries = calloc(blocks * FERRY_ENTRIES, sizeof(FerryIndexEntry));
    reader->known = calloc(blocks, 1);
    if (reader->entries == NULL || reader->known == NULL)
        g_error("no memory for the index of %" G_GUINT64_FORMAT " pages", blocks * FERRY_ENTRIES);
    return g_steal_pointer(&reader);
}

FerryImageReader *ferry_image_reader_open_lazy(FerryArea *area, uint64_t epoch, GError **error)
{
    return open_without_index(area, epoch, false, error);
}

FerryImageReader *ferry_image_reader_open_again(FerryArea *area, uint64_t epoch, GError **error)
{
    return open_without_index(area, epoch, true, error);
}

FerryImageReader *ferry_image_reader_open(FerryArea *area, uint64_t epoch, GError **error)
{
    g_autoptr(FerryImageReader) reader = open_without_index(area, epoch, false, error);
    if (reader == NULL || !read_index(reader, error) || !ferry_image_reader_check(reader, error))
        return NULL;
    return g_steal_pointer(&reader);
}

void ferry_image_reader_free(FerryImageReader *reader)
{
    if (reader == NULL)
        return;
    free(reader->entries);
    free(reader->known);
    free(reader->tail);
    g_mutex_clear(&reader->lock);
    g_free(reader);
}

bool ferry_image_reader_set_huge(FerryImageReader *reader, const char *name, GError **error)
{
    for (uint32_t i = 0; i < reader->descriptor.n_blocks; i++) {
        FerryBlock *block = &reader->descriptor.blocks[i];
        if (strcmp(block->name, name) != 0 || block->length % FERRY_HUGE != 0)
            continue;
        block->huge = true;
        return true;
    }
    return corrupt(reader, "it has no RAM block that fits into huge pages", error);
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
    return ferry_entry_state(reader->entries[page]);
}

uint32_t ferry_image_reader_generation(const FerryImageReader *reader, uint64_t page)
{
    return ferry_entry_generation(reader->entries[page]);
}

uint64_t ferry_image_reader_offset(const FerryImageReader *reader, uint64_t page)
{
    return reader->descriptor.pages_offset + page * FERRY_PAGE;
}

bool ferry_image_reader_verify(const FerryImageReader *reader, uint64_t page, const uint8_t *bytes,
                               GError **error)
{
    if (ferry_crc32c(0, bytes, FERRY_PAGE) == reader->entries[page].crc32c)
        return true;
    g_autofree char *what =
        g_strdup_printf("page %" G_GUINT64_FORMAT " (offset %" G_GUINT64_FORMAT
                        ") has a wrong CRC32C",
                        page, ferry_image_reader_offset(reader, page));
    return corrupt(reader, what, error);
}

bool ferry_image_reader_pages(FerryImageReader *reader, uint64_t page, size_t n, uint8_t *buffer,
                              GError **error)
{
    if (!read_aligned(reader, buffer, n * FERRY_PAGE, ferry_image_reader_offset(reader, page),
                      error))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!ferry_image_reader_verify(reader, page + i, buffer + i * FERRY_PAGE, error))
            return false;
    return true;
}

uint64_t ferry_image_reader_bytes(const FerryImageReader *reader)
{
    return atomic_load(&reader->bytes);
}

void ferry_image_reader_count(FerryImageReader *reader, uint64_t bytes)
{
    atomic_fetch_add(&reader->bytes, bytes);
}
