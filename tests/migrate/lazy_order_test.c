// SPDX-License-Identifier: GPL-2.0-or-later
// A lazy load against a scripted QEMU: what the guest waits for comes first, each page once and
// right, and what is damaged never.
#include "migrate/load_lazy.h"
#include "tests/migrate/area_support.h"
#include "tests/migrate/fake_qemu.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RAM_PAGES = 4000,
    ROM_PAGES = 40,
    PAGES = RAM_PAGES + ROM_PAGES,
    MEMORY_MIB = 16,
    DEVICE_LENGTH = 20,
    ANSWER_BYTES = 768 * 1024, // within which an answer comes; the image has 16 MiB
};

static const char tail[] = "device state, opaque\0\x06....{}";
static const FerryBlock blocks[] = {
    {"pc.ram", (uint64_t)RAM_PAGES * FERRY_PAGE, 0},
    {"pc.rom", (uint64_t)ROM_PAGES * FERRY_PAGE, RAM_PAGES},
};

typedef struct {
    AreaFixture area;
    FerryArea *open;
    FerryImageReader *reader;
    int ours;
    FakeQemu qemu;
    GThread *thread;
    unsigned running;
    bool loaded;
    GError *error;
    FerryFaultStats stats;
    uint8_t seen[PAGES];
} Load;

static bool is_zero(uint64_t page)
{
    return page % 5 == 0;
}

static void fill(uint8_t *bytes, uint64_t page)
{
    for (uint64_t i = 0; i < FERRY_PAGE / 8; i++) {
        uint64_t word = is_zero(page) ? 0 : (page + 1) * 0x9e3779b97f4a7c15 + i;
        memcpy(bytes + i * 8, &word, sizeof word);
    }
}

// --- the image ---

static void write_pages(FerryImageWriter *writer)
{
    g_autoptr(GError) error = NULL;
    uint8_t bytes[FERRY_PAGE];
    for (uint64_t page = 0; page < PAGES; page++) {
        fill(bytes, page);
        if (is_zero(page))
            ferry_image_writer_zero(writer, page, &error);
        else
            ferry_image_writer_page(writer, page, bytes, &error);
        g_assert_no_error(error);
    }
}

static void write_image(Load *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FerryArea) area = ferry_area_open(f->area.path, &error);
    g_autoptr(FerryImageWriter) writer = ferry_image_writer_new(area, 1);
    FerryImage image;
    g_assert_true(
        ferry_image_writer_config(writer, (const uint8_t *)"\x07\0\0\0\4test", 9, &error));
    g_assert_true(ferry_image_writer_blocks(writer, blocks, 2, PAGES, &error));
    write_pages(writer);
    g_assert_true(ferry_image_writer_ram_end(writer, &error));
    g_assert_true(ferry_image_writer_finish(writer, (const uint8_t *)tail, sizeof tail,
                                            DEVICE_LENGTH, &image, &error));
    area_fixture_advance(&f->area, FERRY_SEALED, false, &image);
}

// --- the load, in a thread ---

static void on_running(void *env)
{
    ((Load *)env)->running++;
}

static void on_progress(const FerryLoadProgress *progress, void *env)
{
    (void)env;
    g_assert_cmpuint(progress->bytes_sent, <=, progress->bytes_total);
}

static gpointer load(gpointer data)
{
    static const FerryLazyEvents events = {on_running, on_progress};
    Load *f = data;
    f->loaded = ferry_load_lazy(f->reader, f->ours, &events, f, &f->stats, &f->error);
    close(f->ours);
    return NULL;
}

static void set_up(Load *f, gconstpointer data)
{
    (void)data;
    int pair[2];
    *f = (Load){0};
    area_fixture_file(&f->area, 0);
    area_fixture_saving(&f->area, MEMORY_MIB);
    write_image(f);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    f->ours = pair[0];
    f->qemu.fd = pair[1];
}

static void begin(Load *f)
{
    g_autoptr(GError) error = NULL;
    f->open = ferry_area_open(f->area.path, &error);
    f->reader = ferry_image_reader_open_lazy(f->open, 1, &error);
    g_assert_no_error(error);
    f->thread = g_thread_new("load", load, f);
    fake_qemu_head(&f->qemu, blocks, G_N_ELEMENTS(blocks));
    fake_qemu_package(&f->qemu, tail, DEVICE_LENGTH);
}

static void end(Load *f)
{
    g_clear_pointer(&f->thread, g_thread_join);
}

static void tear_down(Load *f, gconstpointer data)
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
    uint64_t first = strcmp(page->block, "pc.ram") == 0 ? 0 : RAM_PAGES;
    g_assert_cmpstr(page->block, ==, first == 0 ? "pc.ram" : "pc.rom");
    return first + page->start / FERRY_PAGE;
}

// False at the end. Each page comes once, and right.
static bool next(Load *f, uint64_t *number)
{
    FakePage page;
    uint8_t expected[FERRY_PAGE];
    fake_qemu_page(&f->qemu, &page);
    if (page.end)
        return false;
    *number = page_number(&page);
    g_assert_cmpuint(*number, <, PAGES);
    g_assert_cmpuint(f->seen[*number]++, ==, 0);
    g_assert_cmpint(page.zero, ==, is_zero(*number));
    fill(expected, *number);
    g_assert_cmpmem(page.bytes, FERRY_PAGE, expected, FERRY_PAGE);
    return true;
}

static void wait_for(Load *f, uint64_t page)
{
    uint64_t before = f->qemu.bytes;
    for (uint64_t number = PAGES; number != page;) {
        g_assert_true(next(f, &number));
        g_assert_cmpuint(f->qemu.bytes - before, <, ANSWER_BYTES);
    }
}

static void finish(Load *f)
{
    for (uint64_t number; next(f, &number);)
        ;
    fake_qemu_shut(&f->qemu, 0);
    end(f);
    g_assert_no_error(f->error);
    g_assert_true(f->loaded);
    g_assert_cmpuint(f->running, ==, 1);
    for (uint64_t page = 0; page < PAGES; page++)
        if (!is_zero(page))
            g_assert_cmpuint(f->seen[page], ==, 1);
}

static void fails(Load *f, FerryErrorCode code)
{
    end(f);
    g_assert_false(f->loaded);
    g_assert_error(f->error, FERRY_ERROR, (int)code);
}

// --- tests ---

static void test_in_order(Load *f, gconstpointer data)
{
    (void)data;
    begin(f);
    finish(f);
    g_assert_cmpuint(f->stats.faults, ==, 0);
}

static void test_faults(Load *f, gconstpointer data)
{
    (void)data;
    begin(f);
    fake_qemu_ask(&f->qemu, "pc.ram", (uint64_t)3333 * FERRY_PAGE, FERRY_PAGE);
    wait_for(f, 3333);
    fake_qemu_ask(&f->qemu, NULL, (uint64_t)2500 * FERRY_PAGE, FERRY_PAGE); // zero
    wait_for(f, 2500);
    fake_qemu_ask(&f->qemu, "pc.rom", (uint64_t)7 * FERRY_PAGE, FERRY_PAGE);
    wait_for(f, RAM_PAGES + 7);
    finish(f);
    g_assert_cmpuint(f->stats.faults, ==, 3);
}

// The whole stretch around a fault comes before the bulk, zero pages, too.
static void test_locality(Load *f, gconstpointer data)
{
    (void)data;
    begin(f);
    fake_qemu_ask(&f->qemu, "pc.ram", (uint64_t)3210 * FERRY_PAGE, FERRY_PAGE);
    wait_for(f, 3210);
    uint64_t before = f->qemu.bytes, number;
    for (unsigned missing = 64; missing > 0;) {
        g_assert_true(next(f, &number));
        g_assert_cmpuint(f->qemu.bytes - before, <, 4 * ANSWER_BYTES);
        missing = 0;
        for (uint64_t page = 3200; page < 3264; page++)
            missing += f->seen[page] == 0;
    }
    finish(f);
}

static void test_asked_again(Load *f, gconstpointer data)
{
    (void)data;
    begin(f);
    for (unsigned i = 0; i < 20; i++)
        fake_qemu_ask(&f->qemu, "pc.ram", (uint64_t)(3000 + i % 2) * FERRY_PAGE, 2 * FERRY_PAGE);
    wait_for(f, 3002);
    finish(f); // each page once
}

static void test_damaged(Load *f, gconstpointer data)
{
    (void)data;
    FerryDescriptor layout;
    ferry_image_layout(&layout, PAGES);
    area_fixture_flip(&f->area, layout.pages_offset + (uint64_t)3901 * FERRY_PAGE + 5);
    begin(f);
    fake_qemu_ask(&f->qemu, "pc.ram", (uint64_t)3901 * FERRY_PAGE, FERRY_PAGE);
    fails(f, FERRY_ERROR_CORRUPT);
    g_assert_nonnull(strstr(f->error->message, "page 3901"));
}

static void test_shut_early(Load *f, gconstpointer data)
{
    (void)data;
    begin(f);
    fake_qemu_shut(&f->qemu, 1);
    fails(f, FERRY_ERROR_STREAM);
}

static void test_hang_up(Load *f, gconstpointer data)
{
    (void)data;
    begin(f);
    shutdown(f->qemu.fd, SHUT_RDWR);
    fails(f, FERRY_ERROR_STREAM);
}

static void test_bad_request(Load *f, gconstpointer data)
{
    const uint64_t *start = data;
    begin(f);
    fake_qemu_ask(&f->qemu, *start == 1 ? "pc.none" : "pc.rom", *start == 1 ? 0 : *start,
                  FERRY_PAGE);
    fails(f, FERRY_ERROR_STREAM);
}

#define ADD(name, data, function)                                                                  \
    g_test_add("/lazy-order/" name, Load, data, set_up, function, tear_down)

int main(int argc, char **argv)
{
    static const uint64_t beyond = (uint64_t)ROM_PAGES * FERRY_PAGE, crooked = 100, unknown = 1,
                          overflow = UINT64_MAX - FERRY_PAGE + 1;
    g_test_init(&argc, &argv, NULL);
    ADD("in-order", NULL, test_in_order);
    ADD("faults", NULL, test_faults);
    ADD("locality", NULL, test_locality);
    ADD("asked-again", NULL, test_asked_again);
    ADD("damaged", NULL, test_damaged);
    ADD("shut-early", NULL, test_shut_early);
    ADD("hang-up", NULL, test_hang_up);
    ADD("beyond", &beyond, test_bad_request);
    ADD("crooked", &crooked, test_bad_request);
    ADD("unknown-block", &unknown, test_bad_request);
    ADD("overflow", &overflow, test_bad_request);
    return g_test_run();
}
