// SPDX-License-Identifier: GPL-2.0-or-later
// Where everything is in a state area, and how it is written down: docs/STATE-IMAGE.md. Plain data
// and conversion; no I/O.
#pragma once

#include "migrate/record.h"
#include <stddef.h>

#define FERRY_KIB(n) ((uint64_t)(n) << 10)
#define FERRY_MIB(n) ((uint64_t)(n) << 20)

enum {
    FERRY_PAGE = 4096,
    FERRY_SLOT = 4096,              // bytes of a header slot
    FERRY_MAX_BLOCKS = 64,          // RAM blocks of a guest
    FERRY_MAX_CONFIG = 4096,        // bytes of QEMU's configuration section
    FERRY_MAX_HOT = 65536,          // entries of the hot list
    FERRY_ENTRIES = 511,            // index entries in a block of 4 KiB
    FERRY_OVERHEAD_MIB = 64,        // ROM and video blocks beside the VM's memory
    FERRY_HUGE = 2 * 1024 * 1024,
    FERRY_JOURNAL_SLOTS = 128,      // the journal is a ring
    FERRY_JOURNAL_MAX = 1000,       // index blocks that one of its blocks names
};

#define FERRY_SLOT_A 0
#define FERRY_SLOT_B FERRY_KIB(64)
#define FERRY_DESCRIPTOR_OFFSET FERRY_KIB(128)
#define FERRY_DESCRIPTOR_MAX FERRY_KIB(64)
#define FERRY_DEFINITION_OFFSET FERRY_KIB(256)
#define FERRY_DEFINITION_MAX FERRY_KIB(512)
#define FERRY_DEVICE_OFFSET FERRY_MIB(1)
#define FERRY_DEVICE_MAX FERRY_MIB(16)
#define FERRY_HOT_OFFSET FERRY_MIB(17)
#define FERRY_JOURNAL_OFFSET (FERRY_HOT_OFFSET + FERRY_KIB(512))
#define FERRY_INDEX_OFFSET FERRY_MIB(18)
#define FERRY_ALIGN FERRY_MIB(2)

typedef enum {
    FERRY_PAGE_ABSENT = 0, // never sent: zero in a fresh guest
    FERRY_PAGE_ZERO = 1,
    FERRY_PAGE_PRESENT = 2,
} FerryPageState;

typedef struct {
    uint32_t crc32c;
    uint32_t word; // FerryPageState in the lowest bits, above them the generation
} FerryIndexEntry;

enum { FERRY_STATE_BITS = 2 };

static inline FerryPageState ferry_entry_state(FerryIndexEntry entry)
{
    return (FerryPageState)(entry.word & ((1u << FERRY_STATE_BITS) - 1));
}

// How often the page got other contents in this save; 0 = absent, or not counted.
static inline uint32_t ferry_entry_generation(FerryIndexEntry entry)
{
    return entry.word >> FERRY_STATE_BITS;
}

static inline uint32_t ferry_entry_word(FerryPageState state, uint32_t generation)
{
    return (uint32_t)state | generation << FERRY_STATE_BITS;
}

typedef struct {
    char name[256];
    uint64_t length;     // bytes, a multiple of FERRY_PAGE
    uint64_t first_page; // in the image's page numbering
    bool huge;           // not on storage: the loading QEMU has it in pages of FERRY_HUGE bytes
} FerryBlock;

typedef struct {
    uint64_t epoch;
    uint64_t total_pages;
    uint64_t index_offset, index_blocks;
    uint64_t pages_offset;
    uint64_t device_length;  // of the device state's sections, without the end mark
    uint64_t tail_length;    // with everything that QEMU wrote after RAM; 0 = not yet known
    uint32_t device_crc32c;  // of the whole tail
    uint32_t hot_count, hot_crc32c;
    uint64_t save;           // the record's sequence when the save began: which save it is
    uint64_t journals;       // journal blocks that the save wrote; 0 = it kept none
    uint32_t config_length;
    uint8_t config[FERRY_MAX_CONFIG]; // QEMU's configuration section, as it was sent
    uint32_t n_blocks;
    FerryBlock blocks[FERRY_MAX_BLOCKS];
} FerryDescriptor;

// Fills in the offsets for TOTAL_PAGES and says how long the area must be.
uint64_t ferry_image_layout(FerryDescriptor *descriptor, uint64_t total_pages);
uint64_t ferry_index_blocks(uint64_t pages);

// BYTES has FERRY_DESCRIPTOR_MAX bytes; returns how many are used.
size_t ferry_descriptor_encode(const FerryDescriptor *descriptor, uint8_t *bytes);
// Checks every length against the format's limits, AREA_SIZE and each other.
bool ferry_descriptor_decode(FerryDescriptor *descriptor, const uint8_t *bytes, size_t length,
                             uint64_t area_size, GError **error);

// A header slot: FERRY_SLOT bytes, with its own CRC32C.
void ferry_record_encode(const FerryRecord *record, uint8_t *bytes);
bool ferry_record_decode(FerryRecord *record, const uint8_t *bytes, GError **error);

// An index block: FERRY_ENTRIES entries and a CRC32C that covers block number, epoch and save, too,
// so that a block of an older save or of another place is never taken for this one. DESCRIPTOR's
// epoch and save.
void ferry_index_encode(const FerryIndexEntry *entries, uint64_t block,
                        const FerryDescriptor *descriptor, uint8_t *bytes);
bool ferry_index_decode(FerryIndexEntry *entries, uint64_t block,
                        const FerryDescriptor *descriptor, const uint8_t *bytes, GError **error);

// A journal block: index blocks that are on storage, with the pages they describe, while the guest
// is still being saved.
typedef struct {
    uint64_t number; // within the save, from 1 on
    uint64_t epoch, save;
    uint32_t descriptor_length, descriptor_crc32c; // of the descriptor as it is meanwhile
    uint32_t count;
    uint32_t blocks[FERRY_JOURNAL_MAX];
} FerryJournal;

uint64_t ferry_journal_offset(uint64_t number);
// BYTES has FERRY_PAGE bytes, here and below.
void ferry_journal_encode(const FerryJournal *journal, uint8_t *bytes);
// False: this is no whole journal block.
bool ferry_journal_decode(FerryJournal *journal, const uint8_t *bytes);
