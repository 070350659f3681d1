// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/migrate/lazy_support.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MEMORY_MIB = 16, DEVICE_LENGTH = 20 };

static const char tail[] = "device state, opaque\0\x06....{}";

const FerryBlock lazy_blocks[LAZY_BLOCKS] = {
    {"pc.ram", (uint64_t)LAZY_RAM_PAGES * FERRY_PAGE, 0, false},
    {"pc.rom", (uint64_t)LAZY_ROM_PAGES * FERRY_PAGE, LAZY_RAM_PAGES, false},
};

bool lazy_is_zero(uint64_t page)
{
    return page % 5 == 0;
}

static void fill(uint8_t *bytes, uint64_t page)
{
    for (uint64_t i = 0; i < FERRY_PAGE / 8; i++) {
        uint64_t word = lazy_is_zero(page) ? 0 : (page + 1) * 0x9e3779b97f4a7c15 + i;
        memcpy(bytes + i * 8, &word, sizeof word);
    }
}

// --- the image ---

static void write_pages(FerryImageWriter *writer)
{
    g_autoptr(GError) error = NULL;
    uint8_t bytes[FERRY_PAGE];
    for (uint64_t page = 0; page < LAZY_PAGES; page++) {
        fill(bytes, page);
        if (lazy_is_zero(page))
            ferry_image_writer_zero(writer, page, &error);
        else
            ferry_image_writer_page(writer, page, bytes, &error);
        g_assert_no_error(error);
    }
}

static void write_image(LazyFixture *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FerryArea) area = ferry_area_open(f->area.path, &error);
    g_autoptr(FerryImageWriter) writer = ferry_image_writer_new(area, 1, 1);
    FerryImage image;
    g_assert_true(
        ferry_image_writer_config(writer, (const uint8_t *)"\x07\0\0\0\4test", 9, &error));
    g_assert_true(ferry_image_writer_blocks(writer, lazy_blocks, LAZY_BLOCKS, LAZY_PAGES, &error));
    write_pages(writer);
    g_assert_true(ferry_image_writer_ram_end(writer, &error));
    g_assert_true(ferry_image_writer_finish(writer, (const uint8_t *)tail, sizeof tail,
                                            DEVICE_LENGTH, &image, &error));
    area_fixture_advance(&f->area, FERRY_SEALED, false, &image);
}

// --- the load, in a thread ---

static void on_running(void *env)
{
    ((LazyFixture *)env)->running++;
}

static void on_progress(const FerryLoadProgress *progress, void *env)
{
    (void)env;
    g_assert_cmpuint(progress->bytes_sent, <=, progress->bytes_total);
}

static gpointer load(gpointer data)
{
    static const FerryLazyEvents events = {on_running, on_progress};
    LazyFixture *f = data;
    g_autoptr(FerryReads) reads = ferry_reads_new(f->open);
    FerryLazyLoad lazily = {.reader = f->reader, .reads = reads, .fd = f->ours};
    f->loaded = (f->again ? ferry_load_lazy_again : ferry_load_lazy)(&lazily, &events, f, &f->stats,
                                                                     &f->error);
    close(f->ours);
    return NULL;
}

void lazy_set_up(LazyFixture *f, gconstpointer data)
{
    (void)data;
    int pair[2];
    *f = (LazyFixture){0};
    area_fixture_file(&f->area, 0);
    area_fixture_saving(&f->area, MEMORY_MIB);
    write_image(f);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    f->ours = pair[0];
    f->qemu.fd = pair[1];
}

void lazy_begin(LazyFixture *f)
{
    g_autoptr(GError) error = NULL;
    f->open = ferry_area_open(f->area.path, &error);
    f->reader = ferry_image_reader_open_lazy(f->open, 1, &error);
    g_assert_no_error(error);
    f->thread = g_thread_new("load", load, f);
    if (f->again)
        return;
    fake_qemu_head(&f->qemu, lazy_blocks, LAZY_BLOCKS);
    fake_qemu_package(&f->qemu, tail, DEVICE_LENGTH);
}

static void end(LazyFixture *f)
{
    g_clear_pointer(&f->thread, g_thread_join);
}

void lazy_tear_down(LazyFixture *f, gconstpointer data)
{
    (void)data;
    g_assert_null(f->thread);
    close(f->qemu.fd);
    ferry_image_reader_free(f->reader);
    ferry_area_close(f->open);
    area_fixture_clear(&f->area);
    g_clear_error(&f->error);
}

// --- what comes ---

static uint64_t page_number(const FakePage *page)
{
    uint64_t first = strcmp(page->block, "pc.ram") == 0 ? 0 : LAZY_RAM_PAGES;
    g_assert_cmpstr(page->block, ==, first == 0 ? "pc.ram" : "pc.rom");
    return first + page->start / FERRY_PAGE;
}

bool lazy_next(LazyFixture *f, uint64_t *number)
{
    FakePage page;
    uint8_t expected[FERRY_PAGE];
    fake_qemu_page(&f->qemu, &page);
    if (page.end)
        return false;
    *number = page_number(&page);
    g_assert_cmpuint(*number, <, LAZY_PAGES);
    g_assert_cmpuint(f->seen[*number]++, ==, 0);
    g_assert_cmpint(page.zero, ==, lazy_is_zero(*number));
    fill(expected, *number);
    g_assert_cmpint(memcmp(page.bytes, expected, FERRY_PAGE), ==, 0);
    return true;
}

void lazy_wait_for(LazyFixture *f, uint64_t page)
{
    uint64_t before = f->qemu.bytes;
    for (uint64_t number = LAZY_PAGES; number != page;) {
        g_assert_true(lazy_next(f, &number));
        g_assert_cmpuint(f->qemu.bytes - before, <, LAZY_ANSWER_BYTES);
    }
}

void lazy_finish(LazyFixture *f)
{
    for (uint64_t number; lazy_next(f, &number);)
        ;
    fake_qemu_shut(&f->qemu, 0);
    end(f);
    g_assert_no_error(f->error);
    g_assert_true(f->loaded);
    g_assert_cmpuint(f->running, ==, 1);
    for (uint64_t page = 0; page < LAZY_PAGES; page++)
        if (!lazy_is_zero(page))
            g_assert_cmpuint(f->seen[page], ==, 1);
}

void lazy_fails(LazyFixture *f, FerryErrorCode code)
{
    end(f);
    g_assert_false(f->loaded);
    g_assert_error(f->error, FERRY_ERROR, (int)code);
}
