// SPDX-License-Identifier: GPL-2.0-or-later
// A load that was cut goes on against a scripted QEMU: what it has does not come again, what it does
// not have does.
#include "migrate/qemu_stream.h"
#include "tests/migrate/lazy_support.h"

#include <string.h>
#include <sys/socket.h>

enum { RAM_BYTES = (LAZY_RAM_PAGES + 63) / 64 * 8, ROM_BYTES = (LAZY_ROM_PAGES + 63) / 64 * 8 };

static bool has(uint64_t page)
{
    return page < 1500 || page % 3 == 0;
}

// QEMU's bitmap of a block, and SEEN as if these pages had come.
static void fill_bitmap(LazyFixture *f, const FerryBlock *block, uint8_t *bits)
{
    for (uint64_t at = 0; at < block->length / FERRY_PAGE; at++) {
        uint64_t page = block->first_page + at;
        if (!has(page))
            continue;
        bits[at / 8] |= (uint8_t)(1u << at % 8);
        f->seen[page] = 1;
    }
}

static void begin_again(LazyFixture *f)
{
    uint8_t ram[RAM_BYTES] = {0}, rom[ROM_BYTES] = {0};
    fill_bitmap(f, &lazy_blocks[0], ram);
    fill_bitmap(f, &lazy_blocks[1], rom);
    f->again = true;
    lazy_begin(f);
    fake_qemu_bitmap(&f->qemu, "pc.ram", ram, sizeof ram, QEMU_RECV_BITMAP_END);
    fake_qemu_bitmap(&f->qemu, "pc.rom", rom, sizeof rom, QEMU_RECV_BITMAP_END);
    fake_qemu_resume(&f->qemu);
}

static void test_goes_on(LazyFixture *f, gconstpointer data)
{
    (void)data;
    begin_again(f);
    fake_qemu_ask(&f->qemu, "pc.ram", (uint64_t)3502 * FERRY_PAGE, FERRY_PAGE);
    lazy_wait_for(f, 3502);
    lazy_finish(f);
}

static void test_consumed(LazyFixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    area_fixture_advance(&f->area, FERRY_CONSUMED, true, NULL);
    g_autoptr(FerryArea) area = ferry_area_open(f->area.path, &error);
    g_autoptr(FerryImageReader) again = ferry_image_reader_open_again(area, 1, &error);
    g_assert_no_error(error);
    g_autoptr(FerryImageReader) first = ferry_image_reader_open_lazy(area, 1, &error);
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_STATE);
    g_clear_error(&error);
    g_autoptr(FerryImageReader) other = ferry_image_reader_open_again(area, 2, &error);
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_STATE);
}

typedef struct {
    const char *block;
    size_t bytes;
    uint64_t end;
} Answer;

static void test_bad_bitmap(LazyFixture *f, gconstpointer data)
{
    const Answer *answer = data;
    uint8_t bits[RAM_BYTES + 8] = {0};
    f->again = true;
    lazy_begin(f);
    fake_qemu_bitmap(&f->qemu, answer->block, bits, answer->bytes, answer->end);
    lazy_fails(f, FERRY_ERROR_STREAM);
    g_assert_cmpuint(f->running, ==, 0);
}

static void test_hang_up(LazyFixture *f, gconstpointer data)
{
    (void)data;
    f->again = true;
    lazy_begin(f);
    shutdown(f->qemu.fd, SHUT_RDWR);
    lazy_fails(f, FERRY_ERROR_STREAM);
}

#define ADD(name, data, function)                                                                  \
    g_test_add("/lazy-again/" name, LazyFixture, data, lazy_set_up, function, lazy_tear_down)

int main(int argc, char **argv)
{
    static const Answer longer = {"pc.ram", RAM_BYTES + 8, QEMU_RECV_BITMAP_END},
                        shorter = {"pc.ram", RAM_BYTES - 8, QEMU_RECV_BITMAP_END},
                        no_end = {"pc.ram", RAM_BYTES, 1};
    g_test_init(&argc, &argv, NULL);
    ADD("goes-on", NULL, test_goes_on);
    ADD("consumed", NULL, test_consumed);
    ADD("longer", &longer, test_bad_bitmap);
    ADD("shorter", &shorter, test_bad_bitmap);
    ADD("no-end", &no_end, test_bad_bitmap);
    ADD("hang-up", NULL, test_hang_up);
    return g_test_run();
}
