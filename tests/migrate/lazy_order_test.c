// SPDX-License-Identifier: GPL-2.0-or-later
// A lazy load against a scripted QEMU: what the guest waits for comes first, each page once and
// right, and what is damaged never.
#include "tests/migrate/lazy_support.h"

#include <string.h>
#include <sys/socket.h>

static void test_in_order(LazyFixture *f, gconstpointer data)
{
    (void)data;
    lazy_begin(f);
    lazy_finish(f);
    g_assert_cmpuint(f->stats.faults, ==, 0);
}

static void test_faults(LazyFixture *f, gconstpointer data)
{
    (void)data;
    lazy_begin(f);
    fake_qemu_ask(&f->qemu, "pc.ram", (uint64_t)3333 * FERRY_PAGE, FERRY_PAGE);
    lazy_wait_for(f, 3333);
    fake_qemu_ask(&f->qemu, NULL, (uint64_t)2500 * FERRY_PAGE, FERRY_PAGE); // zero
    lazy_wait_for(f, 2500);
    fake_qemu_ask(&f->qemu, "pc.rom", (uint64_t)7 * FERRY_PAGE, FERRY_PAGE);
    lazy_wait_for(f, LAZY_RAM_PAGES + 7);
    lazy_finish(f);
    g_assert_cmpuint(f->stats.faults, ==, 3);
}

// The whole stretch around a fault comes before the bulk, zero pages, too.
static void test_locality(LazyFixture *f, gconstpointer data)
{
    (void)data;
    lazy_begin(f);
    fake_qemu_ask(&f->qemu, "pc.ram", (uint64_t)3210 * FERRY_PAGE, FERRY_PAGE);
    lazy_wait_for(f, 3210);
    uint64_t before = f->qemu.bytes, number;
    for (unsigned missing = 64; missing > 0;) {
        g_assert_true(lazy_next(f, &number));
        g_assert_cmpuint(f->qemu.bytes - before, <, 4 * LAZY_ANSWER_BYTES);
        missing = 0;
        for (uint64_t page = 3200; page < 3264; page++)
            missing += f->seen[page] == 0;
    }
    lazy_finish(f);
}

// A guest that waits for one page after the other, all over its memory, near those it has and far away.
static void test_busy_guest(LazyFixture *f, gconstpointer data)
{
    (void)data;
    unsigned asked = 0;
    lazy_begin(f);
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t page = (uint64_t)g_test_rand_int_range(0, LAZY_RAM_PAGES);
        if (f->seen[page] != 0)
            continue;
        fake_qemu_ask(&f->qemu, "pc.ram", page * FERRY_PAGE, FERRY_PAGE);
        lazy_wait_for(f, page);
        asked++;
    }
    lazy_finish(f);
    g_assert_cmpuint(f->stats.faults, >, 0);
    g_assert_cmpuint(f->stats.faults, <=, asked);
}

static void test_asked_again(LazyFixture *f, gconstpointer data)
{
    (void)data;
    lazy_begin(f);
    for (unsigned i = 0; i < 20; i++)
        fake_qemu_ask(&f->qemu, "pc.ram", (uint64_t)(3000 + i % 2) * FERRY_PAGE, 2 * FERRY_PAGE);
    lazy_wait_for(f, 3002);
    lazy_finish(f); // each page once
}

static void test_damaged(LazyFixture *f, gconstpointer data)
{
    (void)data;
    FerryDescriptor layout;
    ferry_image_layout(&layout, LAZY_PAGES);
    area_fixture_flip(&f->area, layout.pages_offset + (uint64_t)3901 * FERRY_PAGE + 5);
    lazy_begin(f);
    fake_qemu_ask(&f->qemu, "pc.ram", (uint64_t)3901 * FERRY_PAGE, FERRY_PAGE);
    lazy_fails(f, FERRY_ERROR_CORRUPT);
    g_assert_nonnull(strstr(f->error->message, "page 3901"));
}

static void test_shut_early(LazyFixture *f, gconstpointer data)
{
    (void)data;
    lazy_begin(f);
    fake_qemu_shut(&f->qemu, 1);
    lazy_fails(f, FERRY_ERROR_STREAM);
}

static void test_hang_up(LazyFixture *f, gconstpointer data)
{
    (void)data;
    lazy_begin(f);
    shutdown(f->qemu.fd, SHUT_RDWR);
    lazy_fails(f, FERRY_ERROR_STREAM);
}

static void test_bad_request(LazyFixture *f, gconstpointer data)
{
    const uint64_t *start = data;
    lazy_begin(f);
    fake_qemu_ask(&f->qemu, *start == 1 ? "pc.none" : "pc.rom", *start == 1 ? 0 : *start,
                  FERRY_PAGE);
    lazy_fails(f, FERRY_ERROR_STREAM);
}

#define ADD(name, data, function)                                                                  \
    g_test_add("/lazy-order/" name, LazyFixture, data, lazy_set_up, function, lazy_tear_down)

int main(int argc, char **argv)
{
    static const uint64_t beyond = (uint64_t)LAZY_ROM_PAGES * FERRY_PAGE, crooked = 100, unknown = 1,
                          overflow = UINT64_MAX - FERRY_PAGE + 1;
    g_test_init(&argc, &argv, NULL);
    ADD("in-order", NULL, test_in_order);
    ADD("faults", NULL, test_faults);
    ADD("locality", NULL, test_locality);
    ADD("busy-guest", NULL, test_busy_guest);
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
