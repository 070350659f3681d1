// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/image.h"

#include "migrate/crc32c.h"

#include <endian.h>
#include <string.h>

static const char record_magic[8] = "VMFERRY1";
static const char descriptor_magic[8] = "VMFDESC1";
static const char journal_magic[8] = "VMFJRNL1";

enum {
    RECORD_VERSION = 1,
    DESCRIPTOR_VERSION = 2, // 1: without journal and generations
    SLOT_CRC = FERRY_SLOT - 4,
    DESCRIPTOR_HEAD = 128,
    BLOCK_BYTES = 256 + 8 + 8,
    INDEX_CRC = FERRY_PAGE - 4,
    JOURNAL_HEAD = 48,
    JOURNAL_CRC = FERRY_PAGE - 4,
};

static void put32(uint8_t *bytes, size_t at, uint32_t value)
{
    value = htole32(value);
    memcpy(bytes + at, &value, sizeof(value));
}

static void put64(uint8_t *bytes, size_t at, uint64_t value)
{
    value = htole64(value);
    memcpy(bytes + at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *bytes, size_t at)
{
    uint32_t value;
    memcpy(&value, bytes + at, sizeof(value));
    return le32toh(value);
}

static uint64_t get64(const uint8_t *bytes, size_t at)
{
    uint64_t value;
    memcpy(&value, bytes + at, sizeof(value));
    return le64toh(value);
}

static void put_text(uint8_t *bytes, size_t at, const char *text, size_t size)
{
    g_strlcpy((char *)bytes + at, text, size);
}

static void get_text(const uint8_t *bytes, size_t at, char *text, size_t size)
{
    memcpy(text, bytes + at, size - 1);
    text[size - 1] = '\0';
}

// --- layout ---

static uint64_t align(uint64_t value)
{
    return (value + FERRY_ALIGN - 1) / FERRY_ALIGN * FERRY_ALIGN;
}

uint64_t ferry_index_blocks(uint64_t pages)
{
    return (pages + FERRY_ENTRIES - 1) / FERRY_ENTRIES;
}

uint64_t ferry_image_layout(FerryDescriptor *descriptor, uint64_t total_pages)
{
    descriptor->total_pages = total_pages;
    descriptor->index_offset = FERRY_INDEX_OFFSET;
    descriptor->index_blocks = ferry_index_blocks(total_pages);
    descriptor->pages_offset =
        align(descriptor->index_offset + descriptor->index_blocks * FERRY_PAGE);
    return descriptor->pages_offset + total_pages * FERRY_PAGE;
}

// --- record: offsets are docs/STATE-IMAGE.md's ---

void ferry_record_encode(const FerryRecord *record, uint8_t *bytes)
{
    memset(bytes, 0, FERRY_SLOT);
    memcpy(bytes, record_magic, sizeof(record_magic));
    put32(bytes, 8, RECORD_VERSION);
    put32(bytes, 12, FERRY_SLOT);
    put64(bytes, 16, record->sequence);
    put64(bytes, 24, record->epoch);
    put32(bytes, 32, (uint32_t)record->state);
    put64(bytes, 40, (uint64_t)record->written_at_ms);
    put64(bytes, 48, record->image.descriptor_offset);
    put32(bytes, 56, record->image.descriptor_length);
    put32(bytes, 60, record->image.descriptor_crc32c);
    put64(bytes, 64, record->image.ram_bytes);
    put64(bytes, 72, record->image.present_pages);
    put32(bytes, 80, record->image.passes);
    put_text(bytes, 88, record->uuid, sizeof(record->uuid));
    put_text(bytes, 128, record->vm, sizeof(record->vm));
    put_text(bytes, 192, record->owner, sizeof(record->owner));
    put_text(bytes, 448, record->peer, sizeof(record->peer));
    put_text(bytes, 704, record->machine, sizeof(record->machine));
    put_text(bytes, 768, record->qemu_version, sizeof(record->qemu_version));
    put_text(bytes, 800, record->definition_digest, sizeof(record->definition_digest));
    put_text(bytes, 872, record->accelerator, sizeof(record->accelerator));
    put32(bytes, 888, record->definition_length);
    put32(bytes, 892, record->definition_crc32c);
    put32(bytes, SLOT_CRC, ferry_crc32c(0, bytes, SLOT_CRC));
}

static const char *wrong_with_slot(const uint8_t *bytes)
{
    if (memcmp(bytes, record_magic, sizeof(record_magic)) != 0)
        return "wrong magic";
    if (get32(bytes, SLOT_CRC) != ferry_crc32c(0, bytes, SLOT_CRC))
        return "wrong CRC32C";
    if (get32(bytes, 8) != RECORD_VERSION || get32(bytes, 12) != FERRY_SLOT)
        return "a format version that this vmferry does not know";
    if (get32(bytes, 32) >= FERRY_N_STATES)
        return "an unknown state";
    return NULL;
}

// They go into messages, events and JSON.
static bool texts_are_valid(const FerryRecord *record)
{
    const char *const texts[] = {
        record->uuid,    record->vm,           record->owner,             record->peer,
        record->machine, record->qemu_version, record->definition_digest, record->accelerator,
    };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        if (!g_utf8_validate(texts[i], -1, NULL))
            return false;
    return true;
}

static void get_record(FerryRecord *record, const uint8_t *bytes)
{
    *record = (FerryRecord){
        .sequence = get64(bytes, 16),
        .epoch = get64(bytes, 24),
        .state = (FerryState)get32(bytes, 32),
        .written_at_ms = (int64_t)get64(bytes, 40),
        .image = {.descriptor_offset = get64(bytes, 48),
                  .descriptor_length = get32(bytes, 56),
                  .descriptor_crc32c = get32(bytes, 60),
                  .ram_bytes = get64(bytes, 64),
                  .present_pages = get64(bytes, 72),
                  .passes = get32(bytes, 80)},
        .definition_length = get32(bytes, 888),
        .definition_crc32c = get32(bytes, 892),
    };
    get_text(bytes, 88, record->uuid, sizeof(record->uuid));
    get_text(bytes, 128, record->vm, sizeof(record->vm));
    get_text(bytes, 192, record->owner, sizeof(record->owner));
    get_text(bytes, 448, record->peer, sizeof(record->peer));
    get_text(bytes, 704, record->machine, sizeof(record->machine));
    get_text(bytes, 768, record->qemu_version, sizeof(record->qemu_version));
    get_text(bytes, 800, record->definition_digest, sizeof(record->definition_digest));
    get_text(bytes, 872, record->accelerator, sizeof(record->accelerator));
}

bool ferry_record_decode(FerryRecord *record, const uint8_t *bytes, GError **error)
{
    FerryRecord decoded = {0};
    const char *wrong = wrong_with_slot(bytes);
    if (wrong == NULL) {
        get_record(&decoded, bytes);
        wrong = texts_are_valid(&decoded) ? NULL : "a text that is not UTF-8";
    }
    if (wrong == NULL)
        *record = decoded;
    else
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_FORMAT, "%s", wrong);
    return wrong == NULL;
}

// --- descriptor ---

size_t ferry_descriptor_encode(const FerryDescriptor *descriptor, uint8_t *bytes)
{
    memset(bytes, 0, FERRY_DESCRIPTOR_MAX);
    memcpy(bytes, descriptor_magic, sizeof(descriptor_magic));
    put32(bytes, 8, DESCRIPTOR_VERSION);
    put64(bytes, 16, descriptor->epoch);
    put64(bytes, 24, descriptor->total_pages);
    put64(bytes, 32, descriptor->index_offset);
    put64(bytes, 40, descriptor->index_blocks);
    put64(bytes, 48, descriptor->pages_offset);
    put64(bytes, 56, descriptor->device_length);
    put64(bytes, 64, descriptor->tail_length);
    put32(bytes, 72, descriptor->device_crc32c);
    put32(bytes, 76, descriptor->hot_count);
    put32(bytes, 80, descriptor->hot_crc32c);
    put32(bytes, 84, descriptor->config_length);
    put32(bytes, 88, descriptor->n_blocks);
    put64(bytes, 96, descriptor->save);
    put64(bytes, 104, descriptor->journals);
    size_t at = DESCRIPTOR_HEAD;
    memcpy(bytes + at, descriptor->config, descriptor->config_length);
    at += descriptor->config_length;
    for (uint32_t i = 0; i < descriptor->n_blocks; i++, at += BLOCK_BYTES) {
        put_text(bytes, at, descriptor->blocks[i].name, sizeof(descriptor->blocks[i].name));
        put64(bytes, at + 256, descriptor->blocks[i].length);
        put64(bytes, at + 264, descriptor->blocks[i].first_page);
    }
    put32(bytes, 12, (uint32_t)at);
    return at;
}

static const char *wrong_with_head(const FerryDescriptor *descriptor, const uint8_t *bytes,
                                   size_t length, uint64_t area_size)
{
    FerryDescriptor expected = {0};
    uint64_t max_pages = area_size / FERRY_PAGE;
    if (memcmp(bytes, descriptor_magic, sizeof(descriptor_magic)) != 0)
        return "wrong magic";
    if (get32(bytes, 8) == 0 || get32(bytes, 8) > DESCRIPTOR_VERSION)
        return "a format version that this vmferry does not know";
    if (descriptor->config_length > FERRY_MAX_CONFIG || descriptor->n_blocks == 0 ||
        descriptor->n_blocks > FERRY_MAX_BLOCKS || descriptor->hot_count > FERRY_MAX_HOT)
        return "a count beyond the format's limit";
    if (get32(bytes, 12) != length || length != DESCRIPTOR_HEAD + descriptor->config_length +
                                                    (size_t)descriptor->n_blocks * BLOCK_BYTES)
        return "a length that does not fit";
    if (descriptor->tail_length > FERRY_DEVICE_MAX ||
        (descriptor->tail_length > 0 && descriptor->device_length >= descriptor->tail_length))
        return "a device state that is too long";
    if (descriptor->total_pages == 0 || descriptor->total_pages > max_pages ||
        ferry_image_layout(&expected, descriptor->total_pages) > area_size)
        return "more pages than the area has room for";
    if (expected.index_offset != descriptor->index_offset ||
        expected.index_blocks != descriptor->index_blocks ||
        expected.pages_offset != descriptor->pages_offset)
        return "an index or pages at another place";
    return NULL;
}

static bool decode_blocks(FerryDescriptor *descriptor, const uint8_t *bytes)
{
    size_t at = DESCRIPTOR_HEAD;
    uint64_t pages = 0;
    memcpy(descriptor->config, bytes + at, descriptor->config_length);
    at += descriptor->config_length;
    for (uint32_t i = 0; i < descriptor->n_blocks; i++, at += BLOCK_BYTES) {
        FerryBlock *block = &descriptor->blocks[i];
        get_text(bytes, at, block->name, sizeof(block->name));
        block->length = get64(bytes, at + 256);
        block->first_page = get64(bytes, at + 264);
        if (!g_utf8_validate(block->name, -1, NULL))
            return false;
        if (block->length == 0 || block->length % FERRY_PAGE != 0 || block->first_page != pages ||
            block->length / FERRY_PAGE > descriptor->total_pages - pages)
            return false;
        pages += block->length / FERRY_PAGE;
    }
    return pages == descriptor->total_pages;
}

bool ferry_descriptor_decode(FerryDescriptor *descriptor, const uint8_t *bytes, size_t length,
                             uint64_t area_size, GError **error)
{
    const char *wrong = NULL;
    if (length < DESCRIPTOR_HEAD || length > FERRY_DESCRIPTOR_MAX) {
        wrong = "a length that does not fit";
    } else {
        *descriptor = (FerryDescriptor){
            .epoch = get64(bytes, 16),
            .total_pages = get64(bytes, 24),
            .index_offset = get64(bytes, 32),
            .index_blocks = get64(bytes, 40),
            .pages_offset = get64(bytes, 48),
            .device_length = get64(bytes, 56),
            .tail_length = get64(bytes, 64),
            .device_crc32c = get32(bytes, 72),
            .hot_count = get32(bytes, 76),
            .hot_crc32c = get32(bytes, 80),
            .config_length = get32(bytes, 84),
            .n_blocks = get32(bytes, 88),
            .save = get64(bytes, 96),
            .journals = get64(bytes, 104),
        };
        wrong = wrong_with_head(descriptor, bytes, length, area_size);
        if (wrong == NULL && !decode_blocks(descriptor, bytes))
            wrong = "RAM blocks that do not add up";
    }
    if (wrong != NULL)
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT, "the descriptor has %s", wrong);
    return wrong == NULL;
}

// --- index ---

static uint32_t index_crc(const uint8_t *bytes, uint64_t block, const FerryDescriptor *descriptor)
{
    uint8_t place[24];
    put64(place, 0, block);
    put64(place, 8, descriptor->epoch);
    put64(place, 16, descriptor->save);
    size_t length = descriptor->save != 0 ? sizeof(place) : 16; // version 1 had none
    return ferry_crc32c(ferry_crc32c(0, bytes, INDEX_CRC), place, length);
}

void ferry_index_encode(const FerryIndexEntry *entries, uint64_t block,
                        const FerryDescriptor *descriptor, uint8_t *bytes)
{
    memset(bytes, 0, FERRY_PAGE);
    for (size_t i = 0; i < FERRY_ENTRIES; i++) {
        put32(bytes, i * 8, entries[i].crc32c);
        put32(bytes, i * 8 + 4, entries[i].word);
    }
    put32(bytes, INDEX_CRC, index_crc(bytes, block, descriptor));
}

bool ferry_index_decode(FerryIndexEntry *entries, uint64_t block,
                        const FerryDescriptor *descriptor, const uint8_t *bytes, GError **error)
{
    if (get32(bytes, INDEX_CRC) != index_crc(bytes, block, descriptor)) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT,
                    "index block %" G_GUINT64_FORMAT " has a wrong CRC32C", block);
        return false;
    }
    for (size_t i = 0; i < FERRY_ENTRIES; i++) {
        entries[i] = (FerryIndexEntry){get32(bytes, i * 8), get32(bytes, i * 8 + 4)};
        if (ferry_entry_state(entries[i]) > FERRY_PAGE_PRESENT) {
            g_set_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT,
                        "index block %" G_GUINT64_FORMAT " has an unknown page state", block);
            return false;
        }
    }
    return true;
}

// --- journal ---

uint64_t ferry_journal_offset(uint64_t number)
{
    return FERRY_JOURNAL_OFFSET + number % FERRY_JOURNAL_SLOTS * FERRY_PAGE;
}

void ferry_journal_encode(const FerryJournal *journal, uint8_t *bytes)
{
    memset(bytes, 0, FERRY_PAGE);
    memcpy(bytes, journal_magic, sizeof(journal_magic));
    put64(bytes, 8, journal->number);
    put64(bytes, 16, journal->epoch);
    put64(bytes, 24, journal->save);
    put32(bytes, 32, journal->descriptor_length);
    put32(bytes, 36, journal->descriptor_crc32c);
    put32(bytes, 40, journal->count);
    for (uint32_t i = 0; i < journal->count; i++)
        put32(bytes, JOURNAL_HEAD + i * 4, journal->blocks[i]);
    put32(bytes, JOURNAL_CRC, ferry_crc32c(0, bytes, JOURNAL_CRC));
}

bool ferry_journal_decode(FerryJournal *journal, const uint8_t *bytes)
{
    if (memcmp(bytes, journal_magic, sizeof(journal_magic)) != 0 ||
        get32(bytes, JOURNAL_CRC) != ferry_crc32c(0, bytes, JOURNAL_CRC) ||
        get32(bytes, 40) > FERRY_JOURNAL_MAX)
        return false;
    journal->number = get64(bytes, 8);
    journal->epoch = get64(bytes, 16);
    journal->save = get64(bytes, 24);
    journal->descriptor_length = get32(bytes, 32);
    journal->descriptor_crc32c = get32(bytes, 36);
    journal->count = get32(bytes, 40);
    for (uint32_t i = 0; i < journal->count; i++)
        journal->blocks[i] = get32(bytes, JOURNAL_HEAD + i * 4);
    return true;
}
