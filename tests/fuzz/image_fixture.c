// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/image_fixture.h"

#include "migrate/crc32c.h"
#include "migrate/image_writer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    CHANGES = 16, // of one round
    PRESENT = 40, // pages at the beginning; as many zero ones behind them
    TAIL = 300,   // bytes
    INDEX_BLOCKS = 3,
    JOURNALS = 4,
};

// What can be changed: a piece of the area, small enough to keep two of.
typedef enum {
    SLOT_A,
    SLOT_B,
    DESCRIPTOR,
    DEFINITION,
    DEVICE,
    HOT,
    JOURNAL,
    INDEX,
    PAGES,
    N_PIECES,
} Piece;

typedef struct {
    uint64_t offset;
    size_t length;
    uint8_t *pristine, *now;
    bool changed;
} Place;

static Place places[N_PIECES] = {
    [SLOT_A] = {FERRY_SLOT_A, FERRY_SLOT, NULL, NULL, false},
    [SLOT_B] = {FERRY_SLOT_B, FERRY_SLOT, NULL, NULL, false},
    [DESCRIPTOR] = {FERRY_DESCRIPTOR_OFFSET, FERRY_PAGE, NULL, NULL, false},
    [DEFINITION] = {FERRY_DEFINITION_OFFSET, FERRY_PAGE, NULL, NULL, false},
    [DEVICE] = {FERRY_DEVICE_OFFSET, FERRY_PAGE, NULL, NULL, false},
    [HOT] = {FERRY_HOT_OFFSET, FERRY_PAGE, NULL, NULL, false},
    [JOURNAL] = {FERRY_JOURNAL_OFFSET + FERRY_PAGE, JOURNALS *FERRY_PAGE, NULL, NULL, false},
    [INDEX] = {FERRY_INDEX_OFFSET, INDEX_BLOCKS *FERRY_PAGE, NULL, NULL, false},
    [PAGES] = {0, PRESENT *FERRY_PAGE, NULL, NULL, false},
};

static int fd = -1;
static char *path;
static uint64_t size;
static bool cut;
static uint8_t sealed_slot[FERRY_SLOT], saving_slot[FERRY_SLOT];

// --- little-endian words ---

static uint32_t get32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return GUINT32_FROM_LE(value);
}

static uint64_t get64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return GUINT64_FROM_LE(value);
}

static void put32(uint8_t *bytes, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    memcpy(bytes, &value, sizeof value);
}

// --- making it ---

static void no_error(bool fine, const GError *error)
{
    FUZZ_REQUIRE(fine, "the fixture: %s", error != NULL ? error->message : "?");
}

static FerryRecord record_of(FerryState state, uint64_t sequence)
{
    FerryRecord record = {.sequence = sequence, .epoch = FIXTURE_EPOCH, .state = state};
    g_strlcpy(record.uuid, FIXTURE_UUID, sizeof record.uuid);
    g_strlcpy(record.vm, "guest", sizeof record.vm);
    g_strlcpy(record.owner, "n1", sizeof record.owner);
    g_strlcpy(record.peer, "n2", sizeof record.peer);
    g_strlcpy(record.machine, "pc-q35-7.2", sizeof record.machine);
    return record;
}

static void send_pages(FerryImageWriter *writer)
{
    g_autoptr(GError) error = NULL;
    uint8_t page[FERRY_PAGE];
    bool fine = true;
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t i = 0; fine && i < 2 * PRESENT; i++) {
            memset(page, (int)i + pass + 1, sizeof page);
            fine = i < PRESENT ? ferry_image_writer_page(writer, i, page, &error)
                               : ferry_image_writer_zero(writer, FIXTURE_PAGES - i, &error);
        }
        fine = fine && ferry_image_writer_publish(writer, &error);
        no_error(fine, error);
    }
}

static FerryImage write_image(FerryArea *area)
{
    g_autoptr(GError) error = NULL;
    static const FerryBlock blocks[] = {
        {"pc.ram", (uint64_t)(FIXTURE_PAGES - 10) * FERRY_PAGE, 0, false},
        {"pc.rom", (uint64_t)10 * FERRY_PAGE, FIXTURE_PAGES - 10, false},
    };
    uint8_t tail[TAIL];
    FerryImage image = {0};
    g_autoptr(FerryImageWriter) writer = ferry_image_writer_new(area, FIXTURE_EPOCH, FIXTURE_SAVE);
    memset(tail, 't', sizeof tail);
    no_error(ferry_image_writer_config(writer, (const uint8_t *)"\x07....", 5, &error) &&
                 ferry_image_writer_blocks(writer, blocks, 2, FIXTURE_PAGES, &error),
             error);
    send_pages(writer);
    no_error(ferry_image_writer_ram_end(writer, &error) &&
                 ferry_image_writer_finish(writer, tail, sizeof tail, TAIL - 50, &image, &error),
             error);
    return image;
}

static void write_records(FerryArea *area)
{
    g_autoptr(GError) error = NULL;
    FerryRecord saving = record_of(FERRY_SAVING, FIXTURE_SAVE);
    no_error(ferry_area_write_definition(area, &saving, FIXTURE_DEFINITION, &error), error);
    FerryRecord sealed = saving;
    sealed.state = FERRY_SEALED;
    sealed.sequence = FIXTURE_SAVE + 1;
    sealed.image = write_image(area);
    ferry_record_encode(&saving, saving_slot);
    ferry_record_encode(&sealed, sealed_slot);
}

void image_fixture_init(void)
{
    FerryDescriptor layout = {0};
    size = ferry_image_layout(&layout, FIXTURE_PAGES);
    places[PAGES].offset = layout.pages_offset;
    fd = memfd_create("area", MFD_CLOEXEC);
    path = g_strdup_printf("/proc/self/fd/%d", fd);
    FUZZ_REQUIRE(fd >= 0 && ftruncate(fd, (off_t)size) == 0, "no memory file");
    g_autoptr(GError) error = NULL;
    g_autoptr(FerryArea) area = ferry_area_open(path, &error);
    no_error(area != NULL, error);
    write_records(area);
    for (size_t i = 0; i < N_PIECES; i++) {
        places[i].pristine = g_malloc(places[i].length);
        places[i].now = g_malloc(places[i].length);
        FUZZ_REQUIRE(pread(fd, places[i].pristine, places[i].length, (off_t)places[i].offset) ==
                         (ssize_t)places[i].length,
                     "piece %zu", i);
        places[i].changed = true;
    }
}

const char *image_fixture_path(void)
{
    return path;
}

// --- changing it ---

static void write_place(Place *place)
{
    FUZZ_REQUIRE(pwrite(fd, place->now, place->length, (off_t)place->offset) ==
                     (ssize_t)place->length,
                 "writing");
}

void image_fixture_reset(bool sealed)
{
    if (cut)
        FUZZ_REQUIRE(ftruncate(fd, (off_t)size) == 0, "truncating");
    memcpy(places[SLOT_A].pristine, saving_slot, FERRY_SLOT);
    memcpy(places[SLOT_B].pristine, sealed_slot, FERRY_SLOT);
    if (!sealed)
        memset(places[SLOT_B].pristine, 0, FERRY_SLOT);
    places[SLOT_B].changed = true;
    for (size_t i = 0; i < N_PIECES; i++) {
        if (!cut && !places[i].changed)
            continue;
        memcpy(places[i].now, places[i].pristine, places[i].length);
        write_place(&places[i]);
        places[i].changed = false;
    }
    cut = false;
}

void image_fixture_cut(FuzzInput *input)
{
    static const uint64_t sizes[] = {0, 4096, 65536, 100 * 1024, FERRY_INDEX_OFFSET};
    uint8_t which = fuzz_u8(input);
    if (which >= 2 * G_N_ELEMENTS(sizes))
        return;
    uint64_t length = which < G_N_ELEMENTS(sizes) ? sizes[which] : size - which * FERRY_PAGE;
    FUZZ_REQUIRE(ftruncate(fd, (off_t)length) == 0, "truncating");
    cut = true;
}

static void change_one(FuzzInput *input)
{
    uint8_t how = fuzz_u8(input);
    Place *place = &places[how % N_PIECES];
    size_t at = fuzz_u16(input) % place->length, length;
    const uint8_t *bytes =
        fuzz_bytes(input, MIN((size_t)1 << (how >> 4) % 4, place->length - at), &length);
    if (length > 0)
        memcpy(place->now + at, bytes, length);
    place->changed = true;
}

// --- checksums, from the innermost outwards ---

static void fix_index(void)
{
    const uint8_t *descriptor = places[DESCRIPTOR].now;
    FerryDescriptor of = {.epoch = get64(descriptor + 16), .save = get64(descriptor + 96)};
    FerryIndexEntry entries[FERRY_ENTRIES];
    for (uint64_t block = 0; block < INDEX_BLOCKS; block++) {
        uint8_t *bytes = places[INDEX].now + block * FERRY_PAGE;
        for (size_t i = 0; i < FERRY_ENTRIES; i++)
            entries[i] = (FerryIndexEntry){get32(bytes + i * 8), get32(bytes + i * 8 + 4)};
        ferry_index_encode(entries, block, &of, bytes);
    }
}

static uint32_t crc_of(const Place *place, uint64_t length)
{
    return ferry_crc32c(0, place->now, MIN(length, (uint64_t)place->length));
}

static void fix_descriptor(void)
{
    uint8_t *descriptor = places[DESCRIPTOR].now;
    put32(descriptor + 72, crc_of(&places[DEVICE], get64(descriptor + 64)));
    put32(descriptor + 80, crc_of(&places[HOT], (uint64_t)get32(descriptor + 76) * 8));
}

static void fix_journals(void)
{
    for (size_t i = 0; i < JOURNALS; i++) {
        uint8_t *bytes = places[JOURNAL].now + i * FERRY_PAGE;
        put32(bytes + 36, crc_of(&places[DESCRIPTOR], get32(bytes + 32)));
        put32(bytes + FERRY_PAGE - 4, ferry_crc32c(0, bytes, FERRY_PAGE - 4));
    }
}

static void fix_record(Place *place)
{
    put32(place->now + 60, crc_of(&places[DESCRIPTOR], get32(place->now + 56)));
    put32(place->now + 892, crc_of(&places[DEFINITION], get32(place->now + 888)));
    put32(place->now + FERRY_SLOT - 4, ferry_crc32c(0, place->now, FERRY_SLOT - 4));
}

static void fix(uint8_t which)
{
    if (which & 1)
        fix_index();
    if (which & 2)
        fix_descriptor();
    if (which & 4)
        fix_journals();
    if (which & 8)
        fix_record(&places[SLOT_A]);
    if (which & 16)
        fix_record(&places[SLOT_B]);
}

void image_fixture_change(FuzzInput *input)
{
    uint8_t which = (uint8_t)~fuzz_u8(input); // 0: all are right
    for (unsigned n = fuzz_u8(input) % CHANGES; n > 0 && input->size > 0; n--)
        change_one(input);
    fix(which);
    for (size_t i = 0; i < N_PIECES && !cut; i++) {
        if (memcmp(places[i].now, places[i].pristine, places[i].length) != 0)
            places[i].changed = true;
        if (places[i].changed)
            write_place(&places[i]);
    }
}
