// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/image_writer.h"

#include "migrate/crc32c.h"
#include "migrate/writers.h"

#include <stdlib.h>
#include <string.h>

enum {
    // Writes under way at once: passes after the first send single pages, and storage answers each
    // of them after a while only.
    THREADS = 16,
    // Pages between two looks at the index blocks behind the cursor: so much may be on its way before
    // a target can read it. In later passes each page may be of another index block.
    FIRST_PASS_PAGES = 2048,
    LATER_PASS_PAGES = 16384,
    BLOCKS_PER_EXTENT = FERRY_EXTENT / FERRY_PAGE,
};

// Of an index block, as it is on storage.
enum { CLEAN, DIRTY, UNWRITTEN };

struct FerryImageWriter {
    FerryArea *area;
    FerryWriters *writers;
    FerryDescriptor descriptor;
    FerryIndexEntry *entries; // whole index blocks
    uint8_t *dirty;           // of each index block: CLEAN, DIRTY, UNWRITTEN
    GArray *published;        // of uint32_t: index blocks on their way, not yet in the journal
    uint64_t journals;
    uint32_t descriptor_length, descriptor_crc32c; // as the journal names it
    FerryExtent *extent;      // being filled, NULL = none
    uint64_t extent_end;      // the page that would continue it
    uint64_t cursor;          // the last page that came
    uint64_t since_index;     // pages since the last look at the index
    uint64_t present, zero;
    uint64_t submitted; // bytes
    uint32_t passes;
    uint64_t *hot; // ring of the pages that came again
    uint64_t n_hot;
};

FerryImageWriter *ferry_image_writer_new(FerryArea *area, uint64_t epoch, uint64_t save)
{
    FerryImageWriter *writer = g_new0(FerryImageWriter, 1);
    writer->area = area;
    writer->writers = ferry_writers_new(area, THREADS);
    writer->descriptor.epoch = epoch;
    writer->descriptor.save = save;
    writer->published = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    return writer;
}

void ferry_image_writer_free(FerryImageWriter *writer)
{
    if (writer == NULL)
        return;
    ferry_writers_free(writer->writers);
    g_free(writer->entries);
    g_free(writer->dirty);
    g_array_unref(writer->published);
    g_free(writer->hot);
    g_free(writer);
}

static uint64_t page_offset(const FerryImageWriter *writer, uint64_t page)
{
    return writer->descriptor.pages_offset + page * FERRY_PAGE;
}

static void submit_extent(FerryImageWriter *writer)
{
    if (writer->extent == NULL)
        return;
    writer->submitted += writer->extent->bytes;
    ferry_writers_submit(writer->writers, g_steal_pointer(&writer->extent));
}

// Any bytes to any aligned place, the last page filled up with zeros.
static bool write_bytes(FerryImageWriter *writer, const void *bytes, size_t length,
                        uint64_t offset, GError **error)
{
    for (size_t done = 0; done < length;) {
        size_t part = MIN(length - done, (size_t)FERRY_EXTENT);
        FerryExtent *extent = ferry_writers_take(writer->writers, error);
        if (extent == NULL)
            return false;
        extent->offset = offset + done;
        extent->bytes = ferry_whole_pages(part);
        memcpy(extent->buffer, (const uint8_t *)bytes + done, part);
        memset(extent->buffer + part, 0, extent->bytes - part);
        writer->submitted += extent->bytes;
        ferry_writers_submit(writer->writers, extent);
        done += part;
    }
    return true;
}

static bool write_descriptor(FerryImageWriter *writer, uint32_t *length, uint32_t *crc32c,
                             GError **error)
{
    g_autofree uint8_t *bytes = g_malloc(FERRY_DESCRIPTOR_MAX);
    *length = (uint32_t)ferry_descriptor_encode(&writer->descriptor, bytes);
    *crc32c = ferry_crc32c(0, bytes, *length);
    return write_bytes(writer, bytes, *length, FERRY_DESCRIPTOR_OFFSET, error);
}

bool ferry_image_writer_config(FerryImageWriter *writer, const uint8_t *bytes, size_t length,
                               GError **error)
{
    if (length > FERRY_MAX_CONFIG) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM,
                    "QEMU's configuration section has %zu bytes; the image format holds %d", length,
                    FERRY_MAX_CONFIG);
        return false;
    }
    memcpy(writer->descriptor.config, bytes, length);
    writer->descriptor.config_length = (uint32_t)length;
    return true;
}

bool ferry_image_writer_blocks(FerryImageWriter *writer, const FerryBlock *blocks,
                               uint32_t n_blocks, uint64_t total_pages, GError **error)
{
    FerryDescriptor *descriptor = &writer->descriptor;
    uint64_t needed = ferry_image_layout(descriptor, total_pages);
    if (needed > ferry_area_size(writer->area)) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_TOO_SMALL,
                    "state area %s has %" G_GUINT64_FORMAT " MiB, but this guest's memory needs "
                    "%" G_GUINT64_FORMAT " MiB; enlarge it",
                    ferry_area_path(writer->area), ferry_area_size(writer->area) >> 20,
                    (needed + FERRY_MIB(1) - 1) >> 20);
        return false;
    }
    memcpy(descriptor->blocks, blocks, n_blocks * sizeof(*blocks));
    descriptor->n_blocks = n_blocks;
    writer->entries = g_new0(FerryIndexEntry, descriptor->index_blocks * FERRY_ENTRIES);
    writer->dirty = g_malloc(descriptor->index_blocks);
    memset(writer->dirty, UNWRITTEN, descriptor->index_blocks);
    writer->hot = g_new(uint64_t, FERRY_MAX_HOT);
    writer->passes = 1;
    return write_descriptor(writer, &writer->descriptor_length, &writer->descriptor_crc32c, error);
}

// --- index ---

// Whether pages of this index block, or the block itself, are being written.
static bool index_block_busy(const FerryImageWriter *writer, uint64_t block)
{
    const FerryDescriptor *descriptor = &writer->descriptor;
    uint64_t first = block * FERRY_ENTRIES;
    return ferry_writers_busy(writer->writers, page_offset(writer, first),
                              (uint64_t)FERRY_ENTRIES * FERRY_PAGE) ||
           ferry_writers_busy(writer->writers, descriptor->index_offset + block * FERRY_PAGE,
                              FERRY_PAGE);
}

static bool index_block_due(const FerryImageWriter *writer, uint64_t block)
{
    return block < writer->descriptor.index_blocks && writer->dirty[block] == DIRTY &&
           !index_block_busy(writer, block);
}

// Writes the run of due blocks that begins at *BLOCK and moves it behind.
static bool write_index_run(FerryImageWriter *writer, uint64_t *block, GError **error)
{
    const FerryDescriptor *descriptor = &writer->descriptor;
    FerryExtent *extent = ferry_writers_take(writer->writers, error);
    if (extent == NULL)
        return false;
    extent->offset = descriptor->index_offset + *block * FERRY_PAGE;
    for (size_t n = 0; n < BLOCKS_PER_EXTENT && index_block_due(writer, *block); n++, ++*block) {
        ferry_index_encode(writer->entries + *block * FERRY_ENTRIES, *block, descriptor,
                           extent->buffer + extent->bytes);
        extent->bytes += FERRY_PAGE;
        writer->dirty[*block] = CLEAN;
        uint32_t number = (uint32_t)*block;
        g_array_append_val(writer->published, number);
    }
    writer->submitted += extent->bytes;
    ferry_writers_submit(writer->writers, extent);
    return true;
}

// Writes the changed index blocks whose pages are all on storage. No extent is being filled.
static bool write_index(FerryImageWriter *writer, GError **error)
{
    for (uint64_t block = 0; block < writer->descriptor.index_blocks;) {
        if (!index_block_due(writer, block))
            block++;
        else if (!write_index_run(writer, &block, error))
            return false;
    }
    return true;
}

// --- journal ---

static uint32_t published_block(const FerryImageWriter *writer, guint i)
{
    return g_array_index(writer->published, uint32_t, i);
}

// An index block that the journal names is on storage.
static bool settle_published(FerryImageWriter *writer, GError **error)
{
    const FerryDescriptor *descriptor = &writer->descriptor;
    for (guint i = 0; i < writer->published->len; i++) {
        uint64_t block = published_block(writer, i);
        if (!ferry_writers_settle(writer->writers, descriptor->index_offset + block * FERRY_PAGE,
                                  FERRY_PAGE, error))
            return false;
    }
    return ferry_writers_settle(writer->writers, FERRY_DESCRIPTOR_OFFSET, FERRY_DESCRIPTOR_MAX,
                                error);
}

static bool write_journal_block(FerryImageWriter *writer, guint first, uint32_t count,
                                GError **error)
{
    uint8_t bytes[FERRY_PAGE];
    FerryJournal journal = {
        .number = ++writer->journals,
        .epoch = writer->descriptor.epoch,
        .save = writer->descriptor.save,
        .descriptor_length = writer->descriptor_length,
        .descriptor_crc32c = writer->descriptor_crc32c,
        .count = count,
    };
    for (uint32_t i = 0; i < count; i++)
        journal.blocks[i] = published_block(writer, first + i);
    ferry_journal_encode(&journal, bytes);
    uint64_t offset = ferry_journal_offset(journal.number);
    return ferry_writers_settle(writer->writers, offset, FERRY_PAGE, error) &&
           write_bytes(writer, bytes, FERRY_PAGE, offset, error);
}

static bool write_journal(FerryImageWriter *writer, GError **error)
{
    guint n = writer->published->len;
    for (guint first = 0; first < n; first += FERRY_JOURNAL_MAX)
        if (!write_journal_block(writer, first, MIN(n - first, (guint)FERRY_JOURNAL_MAX), error))
            return false;
    g_array_set_size(writer->published, 0);
    return true;
}

// What was published the last time goes into the journal, what has changed since is published.
static bool publish(FerryImageWriter *writer, GError **error)
{
    return settle_published(writer, error) && write_journal(writer, error) &&
           write_index(writer, error);
}

// --- pages ---

static void set_state(FerryImageWriter *writer, uint64_t page, FerryPageState state)
{
    FerryIndexEntry *entry = &writer->entries[page];
    FerryPageState before = ferry_entry_state(*entry);
    writer->present += (state == FERRY_PAGE_PRESENT) - (before == FERRY_PAGE_PRESENT);
    writer->zero += (state == FERRY_PAGE_ZERO) - (before == FERRY_PAGE_ZERO);
    entry->word = ferry_entry_word(state, ferry_entry_generation(*entry) + 1);
    writer->dirty[page / FERRY_ENTRIES] = DIRTY;
}

// Where the order of pages starts again, QEMU has begun another pass. From time to time the index
// behind the cursor is written, so that little of it is left at the end.
static bool move_cursor(FerryImageWriter *writer, uint64_t page, GError **error)
{
    if (page < writer->cursor)
        writer->passes++;
    writer->cursor = page;
    if (writer->passes > 1)
        writer->hot[writer->n_hot++ % FERRY_MAX_HOT] = page;
    if (++writer->since_index < (writer->passes > 1 ? LATER_PASS_PAGES : FIRST_PASS_PAGES))
        return true;
    writer->since_index = 0;
    submit_extent(writer);
    return publish(writer, error);
}

bool ferry_image_writer_zero(FerryImageWriter *writer, uint64_t page, GError **error)
{
    if (!move_cursor(writer, page, error))
        return false;
    FerryPageState before = ferry_entry_state(writer->entries[page]);
    if (before == FERRY_PAGE_ZERO)
        return true;
    if (before == FERRY_PAGE_ABSENT) {
        set_state(writer, page, FERRY_PAGE_ZERO);
        return true;
    }
    submit_extent(writer);
    if (!ferry_writers_settle(writer->writers, page_offset(writer, page), FERRY_PAGE, error))
        return false;
    set_state(writer, page, FERRY_PAGE_ZERO);
    writer->entries[page].crc32c = 0;
    return true;
}

static bool begin_extent(FerryImageWriter *writer, uint64_t page, GError **error)
{
    submit_extent(writer);
    FerryExtent *extent = ferry_writers_take(writer->writers, error);
    if (extent == NULL)
        return false;
    extent->offset = page_offset(writer, page);
    extent->crcs = &writer->entries[page];
    // What an earlier pass wrote where this extent may grow to can still be on its way.
    if (!ferry_writers_settle(writer->writers, extent->offset, FERRY_EXTENT, error))
        return false;
    writer->extent = extent;
    writer->extent_end = page;
    return true;
}

bool ferry_image_writer_page(FerryImageWriter *writer, uint64_t page, const uint8_t *bytes,
                             GError **error)
{
    if (!move_cursor(writer, page, error))
        return false;
    if ((writer->extent == NULL || page != writer->extent_end) &&
        !begin_extent(writer, page, error))
        return false;
    FerryExtent *extent = writer->extent;
    memcpy(extent->buffer + extent->bytes, bytes, FERRY_PAGE);
    extent->bytes += FERRY_PAGE;
    writer->extent_end = page + 1;
    set_state(writer, page, FERRY_PAGE_PRESENT);
    if (extent->bytes == FERRY_EXTENT)
        submit_extent(writer);
    return true;
}

bool ferry_image_writer_publish(FerryImageWriter *writer, GError **error)
{
    submit_extent(writer);
    return ferry_writers_drain(writer->writers, error) && publish(writer, error) &&
           settle_published(writer, error) && write_journal(writer, error);
}

// --- the end ---

bool ferry_image_writer_ram_end(FerryImageWriter *writer, GError **error)
{
    submit_extent(writer);
    for (uint64_t block = 0; block < writer->descriptor.index_blocks; block++)
        if (writer->dirty[block] == UNWRITTEN)
            writer->dirty[block] = DIRTY;
    return write_index(writer, error);
}

// The pages that came again, the last first, each once.
static bool write_hot_list(FerryImageWriter *writer, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_int64_hash, g_int64_equal);
    uint64_t count = MIN(writer->n_hot, (uint64_t)FERRY_MAX_HOT);
    g_autofree uint64_t *list = g_new(uint64_t, count + 1);
    uint32_t n = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t *page = &writer->hot[(writer->n_hot - 1 - i) % FERRY_MAX_HOT];
        if (g_hash_table_add(seen, page))
            list[n++] = GUINT64_TO_LE(*page);
    }
    size_t length = n * sizeof(*list);
    writer->descriptor.hot_count = n;
    writer->descriptor.hot_crc32c = ferry_crc32c(0, list, length);
    return write_bytes(writer, list, length, FERRY_HOT_OFFSET, error);
}

static bool write_end(FerryImageWriter *writer, FerryImage *image, GError **error)
{
    // Index blocks whose pages were still being written when RAM ended. Nothing of this counts
    // before the record says sealed, so that its order does not matter.
    if (!ferry_writers_drain(writer->writers, error) || !write_index(writer, error) ||
        !write_journal(writer, error))
        return false;
    writer->descriptor.journals = writer->journals;
    *image = (FerryImage){
        .descriptor_offset = FERRY_DESCRIPTOR_OFFSET,
        .ram_bytes = writer->descriptor.total_pages * FERRY_PAGE,
        .present_pages = writer->present,
        .passes = writer->passes,
    };
    return write_descriptor(writer, &image->descriptor_length, &image->descriptor_crc32c, error) &&
           ferry_writers_drain(writer->writers, error) && ferry_area_flush(writer->area, error);
}

bool ferry_image_writer_finish(FerryImageWriter *writer, const uint8_t *tail, size_t length,
                               size_t device_length, FerryImage *image, GError **error)
{
    FerryDescriptor *descriptor = &writer->descriptor;
    descriptor->tail_length = length;
    descriptor->device_length = device_length;
    descriptor->device_crc32c = ferry_crc32c(0, tail, length);
    return write_bytes(writer, tail, length, FERRY_DEVICE_OFFSET, error) &&
           write_hot_list(writer, error) && write_end(writer, image, error);
}

void ferry_image_writer_counts(const FerryImageWriter *writer, FerryImageCounts *counts)
{
    uint64_t written = ferry_writers_bytes(writer->writers);
    *counts = (FerryImageCounts){
        .present = writer->present,
        .zero = writer->zero,
        .bytes_written = written,
        .bytes_pending = writer->submitted > written ? writer->submitted - written : 0,
        .passes = writer->passes,
        .ram_bytes = writer->descriptor.total_pages * FERRY_PAGE,
    };
}
