// SPDX-License-Identifier: GPL-2.0-or-later
// A target reads an image along while it is written, at any speed: whatever it kept in the end is
// what was saved.
#include "migrate/preload.h"
#include "tests/migrate/area_support.h"

#include <string.h>

enum { PAGES = 20000, MEMORY_MIB = 80, PASSES = 5, WORD = 8, NEVER = 1000 };

static const char tail[] = "device state, opaque\0\x06....{}";

typedef struct {
    AreaFixture files;
    FerryArea *area, *theirs; // the writer's, the reader's
    FerryImageWriter *writer;
    FerryReads *reads;
    FerryPreload *preload;
    uint64_t version[PAGES]; // of each page; 0 = zero
    uint64_t last_version;
    uint64_t loaded[PAGES]; // what the reader gave us; G_MAXUINT64 = nothing
    unsigned begun, pages;
    gint64 now;
    bool other_save;
    unsigned looks; // for the step's end, until there is one; NEVER = there is none
} Along;

// --- the reader's side ---

static bool on_begin(const FerryDescriptor *descriptor, void *env, GError **error)
{
    (void)error;
    Along *along = env;
    g_assert_cmpuint(descriptor->total_pages, ==, PAGES);
    g_assert_cmpuint(along->begun++, ==, 0);
    return true;
}

static bool on_page(uint64_t page, const uint8_t *bytes, void *env, GError **error)
{
    (void)error;
    Along *along = env;
    uint64_t first = 0, last = 0;
    if (bytes != NULL) {
        memcpy(&first, bytes, WORD);
        memcpy(&last, bytes + FERRY_PAGE - WORD, WORD);
    }
    g_assert_cmpuint(first, ==, last);
    along->loaded[page] = first;
    along->pages++;
    return true;
}

static bool on_flush(void *env, GError **error)
{
    (void)env;
    (void)error;
    return true;
}

static void step(Along *along)
{
    g_autoptr(GError) error = NULL;
    int more_in_ms;
    g_assert_true(ferry_preload_step(along->preload, along->now, &more_in_ms, &error));
    g_assert_no_error(error);
    along->now += 10 * 1000;
}

// Until nothing new comes.
static void catch_up(Along *along)
{
    for (unsigned idle = 0, before = along->pages; idle < 3; before = along->pages) {
        step(along);
        while (ferry_reads_under_way(along->reads) > 0) {
            ferry_reads_wait(along->reads);
            step(along);
        }
        idle = along->pages == before ? idle + 1 : 0;
    }
}

// --- the writer's side ---

static void send_page(Along *along, uint64_t page, uint64_t version)
{
    g_autoptr(GError) error = NULL;
    uint8_t bytes[FERRY_PAGE] = {0};
    along->version[page] = version;
    if (version == 0) {
        ferry_image_writer_zero(along->writer, page, &error);
    } else {
        memcpy(bytes, &version, WORD);
        memcpy(bytes + FERRY_PAGE - WORD, &version, WORD);
        ferry_image_writer_page(along->writer, page, bytes, &error);
    }
    g_assert_no_error(error);
}

static uint64_t another_version(Along *along)
{
    return g_test_rand_int_range(0, 4) == 0 ? 0 : ++along->last_version;
}

// STEPS: of the reader, for each thousand pages sent.
static void send_pass(Along *along, unsigned every, int steps)
{
    for (uint64_t page = 0; page < PAGES; page += (uint64_t)g_test_rand_int_range(1, every + 1)) {
        send_page(along, page, another_version(along));
        if (g_test_rand_int_range(0, 1000) < steps) {
            along->looks = g_test_rand_bit() ? NEVER : (unsigned)g_test_rand_int_range(0, 8);
            step(along);
        }
    }
    along->looks = NEVER;
}

static void begin_writing(Along *along)
{
    const FerryBlock block = {"pc.ram", (uint64_t)PAGES * FERRY_PAGE, 0, false};
    g_autoptr(GError) error = NULL;
    FerryRecord record;
    g_assert_true(ferry_area_read_record(along->area, &record, &error));
    along->writer = ferry_image_writer_new(along->area, record.epoch, record.sequence);
    ferry_image_writer_config(along->writer, (const uint8_t *)"\x07\0\0\0\4test", 9, &error);
    ferry_image_writer_blocks(along->writer, &block, 1, PAGES, &error);
    g_assert_no_error(error);
}

static bool is_over(void *env)
{
    Along *along = env;
    if (along->looks != NEVER && along->looks > 0)
        along->looks--;
    return along->looks == 0;
}

static void begin_reading(Along *along)
{
    static const FerryPreloadEvents events = {on_begin, on_page, on_flush, is_over};
    along->preload = ferry_preload_new(along->theirs, along->reads, 1, &events, along);
    memset(along->loaded, 0xff, sizeof along->loaded);
    along->looks = NEVER;
}

static void finish_writing(Along *along, FerryImage *image)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(ferry_image_writer_ram_end(along->writer, &error));
    g_assert_true(ferry_image_writer_finish(along->writer, (const uint8_t *)tail, sizeof tail, 20,
                                            image, &error));
    g_assert_no_error(error);
}

static void seal(Along *along)
{
    FerryImage image;
    finish_writing(along, &image);
    area_fixture_advance(&along->files, FERRY_SEALED, false, &image);
}

static void set_up(Along *along)
{
    g_autoptr(GError) error = NULL;
    memset(along, 0, sizeof *along);
    area_fixture_file(&along->files, 0);
    area_fixture_saving(&along->files, MEMORY_MIB);
    along->area = ferry_area_open(along->files.path, &error);
    along->theirs = ferry_area_open(along->files.path, &error);
    g_assert_no_error(error);
    along->reads = ferry_reads_new(along->theirs);
    along->now = G_USEC_PER_SEC;
    begin_reading(along);
}

static void tear_down(Along *along)
{
    ferry_preload_free(along->preload);
    ferry_reads_free(along->reads);
    ferry_image_writer_free(along->writer);
    ferry_area_close(along->area);
    ferry_area_close(along->theirs);
    area_fixture_clear(&along->files);
}

// --- the comparison ---

static unsigned settle(Along *along)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) stale = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    ferry_preload_stop(along->preload);
    g_autoptr(FerryImageReader) reader = ferry_image_reader_open_lazy(along->theirs, 1, &error);
    g_assert_no_error(error);
    bool counts = ferry_preload_descriptor(along->preload) != NULL &&
                  ferry_preload_settle(along->preload, reader, stale, &error);
    g_assert_no_error(error);
    g_assert_cmpint(counts, ==, !along->other_save && along->begun == 1);
    unsigned kept = 0;
    for (uint64_t page = 0; counts && page < PAGES; page++)
        if (ferry_preload_has(along->preload, page)) {
            g_assert_cmpuint(along->loaded[page], ==, along->version[page]);
            kept++;
        }
    for (guint i = 0; i < stale->len; i++)
        g_assert_false(ferry_preload_has(along->preload, g_array_index(stale, uint64_t, i)));
    g_assert_true(ferry_image_reader_check(reader, &error));
    g_assert_true(!counts || ferry_preload_verify(along->preload, reader, &error));
    return kept;
}

// DATA: how many steps the reader makes for each thousand pages.
static void test_along(gconstpointer data)
{
    int steps = GPOINTER_TO_INT(data);
    g_autofree Along *along = g_new(Along, 1);
    set_up(along);
    begin_writing(along);
    send_pass(along, 1, steps);
    for (unsigned pass = 1; pass < PASSES; pass++)
        send_pass(along, 1u << (2 * pass), steps);
    if (steps > 0)
        catch_up(along);
    seal(along);
    unsigned kept = settle(along);
    g_test_message("%u pages came, %u of %d counted", along->pages, kept, PAGES);
    g_assert_cmpuint(kept, <=, along->pages);
    if (steps > 0)
        g_assert_cmpuint(kept, >, PAGES / 5);
    tear_down(along);
}

// The save is given up, and another one of the same epoch begins.
static void begin_again(Along *along)
{
    g_clear_pointer(&along->writer, ferry_image_writer_free);
    area_fixture_advance(&along->files, FERRY_RUNNING, false, NULL);
    area_fixture_advance(&along->files, FERRY_SAVING, false, NULL);
    begin_writing(along);
}

// A save that was given up just before its seal left pages, index and journal behind.
static void test_after_another(void)
{
    FerryImage image;
    g_autofree Along *along = g_new(Along, 1);
    set_up(along);
    begin_writing(along);
    send_pass(along, 1, 0);
    finish_writing(along, &image);
    begin_again(along);
    catch_up(along);
    g_assert_cmpuint(along->pages, ==, 0);
    send_pass(along, 1, 200);
    send_pass(along, 16, 200);
    catch_up(along);
    seal(along);
    g_assert_cmpuint(settle(along), >, PAGES / 5);
    tear_down(along);
}

// The reader follows a save that is given up; the next one's image is another.
static void test_other_save(void)
{
    g_autofree Along *along = g_new(Along, 1);
    set_up(along);
    begin_writing(along);
    send_pass(along, 1, 200);
    catch_up(along);
    g_assert_cmpuint(along->begun, ==, 1);
    begin_again(along);
    send_pass(along, 1, 200);
    seal(along);
    along->other_save = true;
    g_assert_cmpuint(settle(along), ==, 0);
    tear_down(along);
}

// More was published than the journal's ring holds since the reader looked.
static void test_left_behind(void)
{
    enum { ROUNDS = FERRY_JOURNAL_SLOTS + 20, BETWEEN = 17000 };
    g_autofree Along *along = g_new(Along, 1);
    set_up(along);
    begin_writing(along);
    send_pass(along, 1, 200);
    for (unsigned round = 0; round < ROUNDS; round++) {
        send_page(along, (uint64_t)g_test_rand_int_range(0, PAGES), ++along->last_version);
        for (unsigned i = 0; i < BETWEEN; i++)
            send_page(along, PAGES - 1, 0);
    }
    catch_up(along);
    send_page(along, 17, ++along->last_version);
    seal(along);
    g_assert_cmpuint(settle(along), >, PAGES / 5);
    tear_down(along);
}

// Pages that were loaded are written anew; the reads of what they are now end after the stop.
static void test_stopped_in_between(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree Along *along = g_new(Along, 1);
    set_up(along);
    begin_writing(along);
    send_pass(along, 1, 0);
    for (unsigned i = 0; i < 2; i++)
        g_assert_true(ferry_image_writer_publish(along->writer, &error));
    catch_up(along);
    for (uint64_t page = 0; page < PAGES; page += 97)
        send_page(along, page, ++along->last_version);
    for (unsigned i = 0; i < 2; i++) // the second time what the first one wrote is on storage
        g_assert_true(ferry_image_writer_publish(along->writer, &error));
    g_assert_no_error(error);
    for (unsigned i = 0; i < 20 && ferry_reads_under_way(along->reads) == 0; i++)
        step(along);
    g_assert_cmpuint(ferry_reads_under_way(along->reads), >, 0);
    seal(along);
    g_assert_cmpuint(settle(along), >, PAGES / 5);
    tear_down(along);
}

// Nothing that was read is handed over any more, and few zero pages, once the step is to end.
static void test_cut_short(void)
{
    enum { FEW_ZEROS = 256 };
    g_autofree Along *along = g_new(Along, 1);
    set_up(along);
    begin_writing(along);
    send_pass(along, 1, 0);
    for (unsigned i = 0; i < 20 && ferry_reads_under_way(along->reads) == 0; i++)
        step(along);
    g_assert_cmpuint(ferry_reads_under_way(along->reads), >, 0);
    ferry_reads_wait(along->reads);
    uint64_t taken = ferry_preload_taken(along->preload);
    uint64_t zeros = ferry_preload_zeros(along->preload);
    along->looks = 0;
    step(along);
    g_assert_cmpuint(ferry_preload_taken(along->preload), ==, taken);
    g_assert_cmpuint(ferry_preload_zeros(along->preload), <=, zeros + FEW_ZEROS);
    along->looks = NEVER;
    catch_up(along);
    g_assert_cmpuint(ferry_preload_taken(along->preload), >, taken);
    seal(along);
    g_assert_cmpuint(settle(along), >, PAGES / 5);
    tear_down(along);
}

// A page that is damaged on storage is not given to anybody.
static void test_damaged(void)
{
    g_autofree Along *along = g_new(Along, 1);
    FerryDescriptor layout = {0};
    set_up(along);
    begin_writing(along);
    send_pass(along, 1, 0);
    uint64_t page = 100;
    while (along->version[page] == 0)
        page++;
    ferry_image_layout(&layout, PAGES);
    area_fixture_flip(&along->files, layout.pages_offset + page * FERRY_PAGE + 9);
    catch_up(along);
    g_assert_cmpuint(along->pages, >, PAGES / 5);
    g_assert_cmpuint(along->loaded[page], ==, G_MAXUINT64);
    tear_down(along);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/preload/idle", GINT_TO_POINTER(0), test_along);
    g_test_add_data_func("/preload/slow", GINT_TO_POINTER(1), test_along);
    g_test_add_data_func("/preload/steady", GINT_TO_POINTER(30), test_along);
    g_test_add_data_func("/preload/eager", GINT_TO_POINTER(500), test_along);
    g_test_add_func("/preload/after-another", test_after_another);
    g_test_add_func("/preload/other-save", test_other_save);
    g_test_add_func("/preload/left-behind", test_left_behind);
    g_test_add_func("/preload/stopped-in-between", test_stopped_in_between);
    g_test_add_func("/preload/cut-short", test_cut_short);
    g_test_add_func("/preload/damaged", test_damaged);
    return g_test_run();
}
