// SPDX-License-Identifier: GPL-2.0-or-later
// An image is written in passes and read back; one flipped bit anywhere is found.
#include "migrate/image_reader.h"
#include "migrate/read_ahead.h"
#include "tests/migrate/area_support.h"

#include <stdlib.h>
#include <string.h>

enum { PAGES = 3000, ROM_PAGES = 64, MEMORY_MIB = 16 };

static const char tail[] = "device state, opaque\0\x06....{}";

typedef struct {
    AreaFixture area;
    uint8_t *memory; // what the image has to hold
    uint64_t expected_present;
} Guest;

static void fill_page(uint8_t *page)
{
    for (size_t i = 0; i < FERRY_PAGE; i += 4) {
        uint32_t word = (uint32_t)g_test_rand_int();
        memcpy(page + i, &word, sizeof word);
    }
}

static void send(FerryImageWriter *writer, const Guest *guest, uint64_t page)
{
    g_autoptr(GError) error = NULL;
    static const uint8_t zeros[FERRY_PAGE];
    const uint8_t *bytes = guest->memory + page * FERRY_PAGE;
    bool fine = memcmp(bytes, zeros, FERRY_PAGE) == 0
                    ? ferry_image_writer_zero(writer, page, &error)
                    : ferry_image_writer_page(writer, page, bytes, &error);
    g_assert_no_error(error);
    g_assert_true(fine);
}

// A first pass over all pages; then passes in which random pages change, some to zero.
static void send_passes(FerryImageWriter *writer, Guest *guest, unsigned passes)
{
    for (uint64_t page = 0; page < PAGES; page++) {
        if (page % 7 != 0 && (page < 600 || page > 1300))
            fill_page(guest->memory + page * FERRY_PAGE);
        send(writer, guest, page);
    }
    for (unsigned pass = 1; pass < passes; pass++)
        for (uint64_t page = 0; page < PAGES; page += (uint64_t)g_test_rand_int_range(1, 20)) {
            uint8_t *bytes = guest->memory + page * FERRY_PAGE;
            if (page % 3 == 0)
                memset(bytes, 0, FERRY_PAGE);
            else
                fill_page(bytes);
            send(writer, guest, page);
        }
}

static void save(Guest *guest, unsigned passes)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FerryArea) area = ferry_area_open(guest->area.path, &error);
    g_assert_no_error(error);
    g_autoptr(FerryImageWriter) writer = ferry_image_writer_new(area, 1, 1);
    const FerryBlock blocks[] = {
        {"pc.ram", (uint64_t)(PAGES - ROM_PAGES) * FERRY_PAGE, 0, false},
        {"pc.rom", (uint64_t)ROM_PAGES * FERRY_PAGE, PAGES - ROM_PAGES, false},
    };
    FerryImage image;
    g_assert_true(ferry_image_writer_config(writer, (const uint8_t *)"\x07....", 5, &error));
    g_assert_true(ferry_image_writer_blocks(writer, blocks, 2, PAGES, &error));
    send_passes(writer, guest, passes);
    g_assert_true(ferry_image_writer_ram_end(writer, &error));
    g_assert_true(ferry_image_writer_finish(writer, (const uint8_t *)tail, sizeof tail, 20, &image,
                                            &error));
    g_assert_no_error(error);
    g_assert_cmpuint(image.passes, ==, passes);
    area_fixture_advance(&guest->area, FERRY_SEALED, false, &image);
}

static void guest_new(Guest *guest, unsigned passes)
{
    *guest = (Guest){.memory = g_malloc0((size_t)PAGES * FERRY_PAGE)};
    area_fixture_file(&guest->area, 0);
    area_fixture_saving(&guest->area, MEMORY_MIB);
    save(guest, passes);
}

static void guest_clear(Guest *guest)
{
    area_fixture_clear(&guest->area);
    g_free(guest->memory);
}

// --- reading ---

static bool read_all(const Guest *guest, FerryImageReader *reader, GError **error)
{
    g_autoptr(FerryReadAhead) ahead = ferry_read_ahead_new(reader, 3);
    g_autoptr(GError) failed = NULL;
    g_autofree uint8_t *memory = g_malloc0((size_t)PAGES * FERRY_PAGE);
    FerryWindow window;
    while (ferry_read_ahead_next(ahead, &window, &failed))
        for (uint32_t i = 0; i < window.n_pages; i++)
            if (ferry_image_reader_state(reader, window.first_page + i) == FERRY_PAGE_PRESENT)
                memcpy(memory + (window.first_page + i) * FERRY_PAGE,
                       window.buffer + (size_t)i * FERRY_PAGE, FERRY_PAGE);
    if (failed != NULL) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    g_assert_cmpint(memcmp(memory, guest->memory, (size_t)PAGES * FERRY_PAGE), ==, 0);
    return true;
}

static bool load(const Guest *guest, uint64_t epoch, GError **error)
{
    g_autoptr(FerryArea) area = ferry_area_open(guest->area.path, error);
    g_autoptr(FerryImageReader) reader =
        area != NULL ? ferry_image_reader_open(area, epoch, error) : NULL;
    if (reader == NULL)
        return false;
    const FerryDescriptor *descriptor = ferry_image_reader_descriptor(reader);
    g_assert_cmpuint(descriptor->total_pages, ==, PAGES);
    g_assert_cmpuint(descriptor->device_length, ==, 20);
    g_assert_cmpuint(descriptor->tail_length, ==, sizeof tail);
    g_assert_cmpint(memcmp(ferry_image_reader_tail(reader), tail, sizeof tail), ==, 0);
    g_assert_cmpstr(descriptor->blocks[1].name, ==, "pc.rom");
    return read_all(guest, reader, error);
}

static void test_round_trip(gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Guest guest;
    guest_new(&guest, GPOINTER_TO_UINT(data));
    g_assert_true(load(&guest, 1, &error));
    g_assert_no_error(error);
    guest_clear(&guest);
}

// A second save over the first one's pages, with nothing of the first left.
static void test_again(void)
{
    g_autoptr(GError) error = NULL;
    Guest guest;
    guest_new(&guest, 2);
    area_fixture_advance(&guest.area, FERRY_CONSUMED, true, NULL);
    area_fixture_advance(&guest.area, FERRY_RUNNING, false, NULL);
    g_assert_false(load(&guest, 1, &error)); // void now
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_STATE);
    guest_clear(&guest);
}

static void test_other_epoch(void)
{
    g_autoptr(GError) error = NULL;
    Guest guest;
    guest_new(&guest, 1);
    g_assert_false(load(&guest, 2, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_STATE);
    guest_clear(&guest);
}

static void test_flipped_bit(gconstpointer data)
{
    uint64_t offset = *(const uint64_t *)data;
    g_autoptr(GError) error = NULL;
    Guest guest;
    guest_new(&guest, 2);
    area_fixture_flip(&guest.area, offset);
    g_assert_false(load(&guest, 1, &error));
    g_assert_nonnull(strstr(error->message, guest.area.path));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT);
    area_fixture_flip(&guest.area, offset); // and the image is whole again
    g_clear_error(&error);
    g_assert_true(load(&guest, 1, &error));
    guest_clear(&guest);
}

static void test_too_small(void)
{
    g_autoptr(GError) error = NULL;
    AreaFixture f;
    area_fixture_file(&f, 0);
    area_fixture_saving(&f, MEMORY_MIB);
    g_autoptr(FerryArea) area = ferry_area_open(f.path, &error);
    g_autoptr(FerryImageWriter) writer = ferry_image_writer_new(area, 1, 1);
    const FerryBlock block = {"pc.ram", FERRY_MIB(512), 0, false};
    g_assert_false(ferry_image_writer_blocks(writer, &block, 1, FERRY_MIB(512) / FERRY_PAGE,
                                             &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_TOO_SMALL);
    area_fixture_clear(&f);
}

static uint64_t first_page_offset(void)
{
    FerryDescriptor descriptor = {0};
    ferry_image_layout(&descriptor, PAGES);
    return descriptor.pages_offset + FERRY_PAGE; // page 0 is zero
}

int main(int argc, char **argv)
{
    static uint64_t offsets[6];
    static const char *const names[] = {"descriptor", "device-state", "index",
                                        "index-last", "page",         "page-end"};
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/image/round-trip/1", GUINT_TO_POINTER(1), test_round_trip);
    g_test_add_data_func("/image/round-trip/2", GUINT_TO_POINTER(2), test_round_trip);
    g_test_add_data_func("/image/round-trip/9", GUINT_TO_POINTER(9), test_round_trip);
    g_test_add_func("/image/again", test_again);
    g_test_add_func("/image/other-epoch", test_other_epoch);
    g_test_add_func("/image/too-small", test_too_small);
    offsets[0] = FERRY_DESCRIPTOR_OFFSET + 30;
    offsets[1] = FERRY_DEVICE_OFFSET + 3;
    offsets[2] = FERRY_INDEX_OFFSET + 8;
    offsets[3] = FERRY_INDEX_OFFSET + (uint64_t)(PAGES / FERRY_ENTRIES) * FERRY_PAGE + 4;
    offsets[4] = first_page_offset();
    offsets[5] = first_page_offset() + FERRY_PAGE - 1;
    for (size_t i = 0; i < G_N_ELEMENTS(offsets); i++) {
        g_autofree char *name = g_strconcat("/image/flipped-bit/", names[i], NULL);
        g_test_add_data_func(name, &offsets[i], test_flipped_bit);
    }
    return g_test_run();
}
