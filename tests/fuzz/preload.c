// SPDX-License-Identifier: GPL-2.0-or-later
// An image that is read along while somebody writes, and damages, it: only pages that are what the
// index says are taken, and what counts after the seal is in the sealed image's generation.
#include "tests/fuzz/fuzz.h"

#include "migrate/preload.h"
#include "tests/fuzz/image_fixture.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>

enum { ROUNDS = 6, STEP_US = 100 * 1000 };

typedef struct {
    uint64_t total_pages; // 0: not begun
    uint64_t area_size;
    uint64_t taken;
    unsigned looks; // for the step's end
} Along;

// Reads go one by one, so that an input always does the same.
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    (void)entries, (void)ring, (void)flags;
    return -ENOSYS;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    image_fixture_init();
    return 0;
}

static bool on_begin(const FerryDescriptor *descriptor, void *env, GError **error)
{
    (void)error;
    Along *along = env;
    FUZZ_REQUIRE(along->total_pages == 0 && descriptor->total_pages > 0, "begun again");
    FUZZ_REQUIRE(descriptor->pages_offset + descriptor->total_pages * FERRY_PAGE <=
                     along->area_size,
                 "pages outside of the area");
    along->total_pages = descriptor->total_pages;
    return true;
}

static bool on_page(uint64_t page, const uint8_t *bytes, void *env, GError **error)
{
    (void)error;
    Along *along = env;
    FUZZ_REQUIRE(page < along->total_pages, "page %" G_GUINT64_FORMAT, page);
    along->taken += bytes != NULL;
    return true;
}

static bool on_flush(void *env, GError **error)
{
    (void)env, (void)error;
    return true;
}

// Now and then a step is cut short.
static bool is_over(void *env)
{
    enum { LOOKS = 8 };
    Along *along = env;
    return ++along->looks % LOOKS == 0;
}

static const FerryPreloadEvents preload_events = {on_begin, on_page, on_flush, is_over};

static void read_along(FerryPreload *preload, FuzzInput *input)
{
    gint64 now = STEP_US;
    for (unsigned round = fuzz_u8(input) % ROUNDS + 1; round > 0; round--) {
        int more_in_ms = -1;
        g_autoptr(GError) error = NULL;
        FUZZ_REQUIRE(ferry_preload_step(preload, now, &more_in_ms, &error), "%s", error->message);
        FUZZ_REQUIRE(more_in_ms >= 0, "when to come again");
        now += STEP_US;
        if (fuzz_u8(input) & 1)
            image_fixture_change(input);
    }
    ferry_preload_stop(preload);
}

static void check_stale(const FerryPreload *preload, const GArray *stale, uint64_t pages)
{
    for (guint i = 0; i < stale->len; i++) {
        uint64_t page = g_array_index(stale, uint64_t, i);
        FUZZ_REQUIRE(page < pages && !ferry_preload_has(preload, page), "page %" G_GUINT64_FORMAT,
                     page);
    }
}

// The sealed image may be damaged, or another one; what is told of it fits together.
static void settle(FerryPreload *preload, FerryArea *area, const Along *along)
{
    g_autoptr(GError) error = NULL, why = NULL, wrong = NULL;
    g_autoptr(GArray) stale = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_autoptr(FerryImageReader) reader = ferry_image_reader_open_lazy(area, FIXTURE_EPOCH, &error);
    if (reader == NULL || ferry_preload_descriptor(preload) == NULL)
        return;
    if (!ferry_preload_settle(preload, reader, stale, &why)) {
        FUZZ_REQUIRE(why == NULL || why->message[0] != '\0', "no reason");
        return;
    }
    fuzz_check_error(true, why);
    check_stale(preload, stale, along->total_pages);
    if (!ferry_image_reader_check(reader, NULL))
        return;
    fuzz_check_error(ferry_preload_verify(preload, reader, &wrong), wrong);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    FuzzInput input = {data, size};
    image_fixture_reset(false);
    image_fixture_change(&input);
    g_autoptr(FerryArea) area = ferry_area_open(image_fixture_path(), &error);
    FUZZ_REQUIRE(area != NULL, "%s", error->message);
    Along along = {.area_size = ferry_area_size(area)};
    g_autoptr(FerryReads) reads = ferry_reads_new(area);
    g_autoptr(FerryPreload) preload =
        ferry_preload_new(area, reads, FIXTURE_EPOCH, &preload_events, &along);
    read_along(preload, &input);
    FUZZ_REQUIRE(ferry_preload_taken(preload) == along.taken, "pages taken");
    image_fixture_reset(true);
    if (fuzz_u8(&input) & 1)
        image_fixture_change(&input);
    settle(preload, area, &along);
    return 0;
}
