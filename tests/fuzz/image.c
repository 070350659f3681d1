// SPDX-License-Identifier: GPL-2.0-or-later
// A sealed image, damaged in places: refused, or nothing in it leads outside of the area.
#include "tests/fuzz/fuzz.h"

#include "migrate/image_reader.h"
#include "tests/fuzz/image_fixture.h"

#include <stdlib.h>
#include <string.h>

typedef FerryImageReader *(*OpenFn)(FerryArea *area, uint64_t epoch, GError **error);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    image_fixture_init();
    return 0;
}

static void check_blocks(const FerryDescriptor *descriptor)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < descriptor->n_blocks; i++) {
        const FerryBlock *block = &descriptor->blocks[i];
        FUZZ_REQUIRE(memchr(block->name, '\0', sizeof block->name) != NULL, "an endless name");
        FUZZ_REQUIRE(g_utf8_validate(block->name, -1, NULL), "a name that is not UTF-8");
        FUZZ_REQUIRE(block->first_page == pages, "block %u begins at page %" G_GUINT64_FORMAT, i,
                     block->first_page);
        pages += block->length / FERRY_PAGE;
    }
    FUZZ_REQUIRE(pages == descriptor->total_pages, "blocks of %" G_GUINT64_FORMAT " pages", pages);
}

static void check_places(const FerryDescriptor *descriptor, uint64_t area_size)
{
    uint64_t pages_end = descriptor->pages_offset + descriptor->total_pages * FERRY_PAGE;
    uint64_t index_end = descriptor->index_offset + descriptor->index_blocks * FERRY_PAGE;
    FUZZ_REQUIRE(pages_end <= area_size && descriptor->pages_offset < pages_end,
                 "pages end at %" G_GUINT64_FORMAT, pages_end);
    FUZZ_REQUIRE(descriptor->index_offset >= FERRY_INDEX_OFFSET &&
                     index_end <= descriptor->pages_offset,
                 "the index ends at %" G_GUINT64_FORMAT, index_end);
    FUZZ_REQUIRE(descriptor->index_blocks * FERRY_ENTRIES >= descriptor->total_pages,
                 "the index is too short");
    FUZZ_REQUIRE(descriptor->tail_length > 0 && descriptor->tail_length <= FERRY_DEVICE_MAX &&
                     descriptor->device_length < descriptor->tail_length,
                 "device state of %" G_GUINT64_FORMAT " bytes", descriptor->tail_length);
    FUZZ_REQUIRE(descriptor->hot_count <= FERRY_MAX_HOT, "%u hot pages", descriptor->hot_count);
}

// What was accepted is written and read again as the same.
static void check_descriptor(const FerryDescriptor *descriptor, uint64_t area_size)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *bytes = g_malloc(FERRY_DESCRIPTOR_MAX);
    g_autofree uint8_t *again_bytes = g_malloc(FERRY_DESCRIPTOR_MAX);
    g_autofree FerryDescriptor *again = g_new0(FerryDescriptor, 1);
    check_places(descriptor, area_size);
    check_blocks(descriptor);
    size_t length = ferry_descriptor_encode(descriptor, bytes);
    FUZZ_REQUIRE(ferry_descriptor_decode(again, bytes, length, area_size, &error), "%s",
                 error->message);
    FUZZ_REQUIRE(ferry_descriptor_encode(again, again_bytes) == length &&
                     memcmp(bytes, again_bytes, length) == 0,
                 "encoded anew as something else");
}

static void check_hot(FerryImageReader *reader, uint64_t pages)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) hot = ferry_image_reader_hot(reader, &error);
    fuzz_check_error(hot != NULL, error);
    for (guint i = 0; hot != NULL && i < hot->len; i++)
        FUZZ_REQUIRE(g_array_index(hot, uint64_t, i) < pages, "a hot page beyond the last");
}

static void check_page(FerryImageReader *reader, uint64_t page, uint8_t *buffer, uint64_t area_size)
{
    g_autoptr(GError) error = NULL;
    uint64_t offset = ferry_image_reader_offset(reader, page);
    FUZZ_REQUIRE(offset + FERRY_PAGE <= area_size, "page %" G_GUINT64_FORMAT " outside", page);
    if (ferry_image_reader_state(reader, page) == FERRY_PAGE_PRESENT)
        fuzz_check_error(ferry_image_reader_pages(reader, page, 1, buffer, &error), error);
}

static void check_pages(FerryImageReader *reader, uint64_t pages, uint64_t area_size)
{
    uint8_t *buffer = ferry_buffer_new(FERRY_PAGE);
    for (uint64_t page = 0; page < pages; page += page < 80 ? 1 : 97) {
        g_autoptr(GError) error = NULL;
        bool known = ferry_image_reader_need(reader, page, MIN(pages - page, (uint64_t)2), &error);
        fuzz_check_error(known, error);
        if (known)
            check_page(reader, page, buffer, area_size);
    }
    free(buffer);
}

static void open_by(OpenFn open, FerryArea *area, uint64_t epoch)
{
    g_autoptr(GError) error = NULL, huge = NULL, count = NULL;
    g_autoptr(FerryImageReader) reader = open(area, epoch, &error);
    fuzz_check_error_names(reader != NULL, error, image_fixture_path());
    if (reader == NULL)
        return;
    const FerryDescriptor *descriptor = ferry_image_reader_descriptor(reader);
    FUZZ_REQUIRE(descriptor->epoch == epoch, "epoch %" G_GUINT64_FORMAT, descriptor->epoch);
    check_descriptor(descriptor, ferry_area_size(area));
    check_hot(reader, descriptor->total_pages);
    check_pages(reader, descriptor->total_pages, ferry_area_size(area));
    fuzz_check_error(ferry_image_reader_set_huge(reader, "pc.ram", &huge), huge);
    fuzz_check_error(ferry_image_reader_check(reader, &count), count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    FuzzInput input = {data, size};
    FerryRecord record;
    image_fixture_reset(true);
    image_fixture_change(&input);
    image_fixture_cut(&input);
    g_autoptr(FerryArea) area = ferry_area_open(image_fixture_path(), &error);
    FUZZ_REQUIRE(area != NULL, "%s", error->message);
    uint64_t epoch = ferry_area_read_record(area, &record, NULL) ? record.epoch : FIXTURE_EPOCH;
    open_by(ferry_image_reader_open, area, epoch);
    open_by(ferry_image_reader_open_lazy, area, epoch);
    open_by(ferry_image_reader_open_again, area, epoch - 1);
    return 0;
}
