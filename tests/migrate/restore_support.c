// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/migrate/restore_support.h"

#include "hvcore/hugepages.h"

#include <stdlib.h>
#include <string.h>

enum { RECOVER_MS = 10 * 1000 };

// --- saver and pager ---

static void saver_listening(FerrySaver *saver, gpointer data)
{
    (void)saver;
    ((Restore *)data)->listening = true;
}

static void saver_progress(FerrySaver *saver, const FerrySaverProgress *progress, gpointer data)
{
    (void)saver;
    ((Restore *)data)->saved = *progress;
}

static void saver_flushed(FerrySaver *saver, const FerryImage *image,
                          const FerrySaverProgress *progress, gpointer data)
{
    Restore *f = data;
    saver_progress(saver, progress, data);
    f->image = *image;
    f->flushed = true;
}

static void saver_failed(FerrySaver *saver, const GError *error, gpointer data)
{
    (void)saver;
    Restore *f = data;
    f->error = g_error_copy(error);
    f->failed = true;
}

static const FerrySaverEvents saver_events = {saver_listening, saver_progress, saver_flushed,
                                              saver_failed};

static void pager_connected(FerryPager *pager, gpointer data)
{
    (void)pager;
    ((Restore *)data)->connected = true;
}

static void pager_progress(FerryPager *pager, const FerryPagerProgress *progress, gpointer data)
{
    (void)pager;
    (void)data;
    g_assert_cmpuint(progress->bytes_sent, <=, progress->bytes_total);
}

static void pager_loaded(FerryPager *pager, const FerryPagerProgress *progress, gpointer data)
{
    Restore *f = data;
    pager_progress(pager, progress, data);
    if (!f->recovered)
        g_assert_cmpuint(progress->bytes_sent, ==, progress->bytes_total);
    f->loads = *progress;
    f->loaded_at = g_get_monotonic_time();
    f->loaded = true;
}

static void pager_running(FerryPager *pager, gpointer data)
{
    (void)pager;
    Restore *f = data;
    g_assert_true(f->lazy);
    f->running_at = g_get_monotonic_time();
    f->running = true;
}

static void pager_failed(FerryPager *pager, const GError *error, gpointer data)
{
    (void)pager;
    saver_failed(NULL, error, data);
}

static const FerryPagerEvents pager_events = {.connected = pager_connected,
                                              .progress = pager_progress,
                                              .loaded = pager_loaded,
                                              .failed = pager_failed,
                                              .running = pager_running};

// --- steps ---

void restore_set_up(Restore *f, gconstpointer data)
{
    *f = (Restore){.block_device = data != NULL};
    vm_fixture_count(&f->vm, NULL);
    if (f->block_device) {
        if (!area_fixture_loop(&f->area, ferry_area_size_needed(64)))
            f->block_device = false;
        else
            g_assert_true(area_fixture_loop(&f->second, ferry_area_size_needed(64)));
    } else {
        area_fixture_file(&f->area, 0);
        area_fixture_file(&f->second, 0);
    }
    if (f->area.path == NULL)
        return;
    area_fixture_saving(&f->area, 64);
    area_fixture_saving(&f->second, 64);
}

void restore_tear_down(Restore *f, gconstpointer data)
{
    if (f->area.path != NULL) {
        area_fixture_clear(&f->area);
        area_fixture_clear(&f->second);
    }
    g_clear_error(&f->error);
    vm_fixture_clear(&f->vm, data);
}

static bool is_over(gpointer data)
{
    Restore *f = data;
    return f->flushed || f->failed;
}

FerrySaver *restore_begin_save(Restore *f, const AreaFixture *area)
{
    g_autoptr(GError) error = NULL;
    g_auto(TestAnswer) answer = {0};
    g_autofree char *socket = g_build_filename(f->vm.dir, "saver.sock", NULL);
    f->listening = f->flushed = f->failed = false;
    FerrySaver *saver =
        ferry_saver_start(LIBEXEC_DIR, area->path, socket, 1, &saver_events, f, &error);
    g_assert_no_error(error);
    g_assert_true(test_wait(&f->listening, 30));
    hv_vm_save(f->vm.vm, socket, 20, test_answer_done, &answer);
    test_answer_ok(&answer);
    return saver;
}

void restore_save(Restore *f, AreaFixture *area)
{
    g_autoptr(FerrySaver) saver = restore_begin_save(f, area);
    g_assert_true(test_wait_for(is_over, f, 60));
    g_assert_no_error(f->error);
    test_vm_wait_state(f->vm.vm, HV_RUN_POSTMIGRATE);
    area_fixture_advance(area, FERRY_SEALED, false, &f->image);
}

char *restore_begin_incoming(Restore *f)
{
    g_auto(TestAnswer) quit = {0}, launched = {0}, listens = {0};
    g_autofree char *socket = g_build_filename(f->vm.dir, "pager.sock", NULL);
    hv_vm_quit(f->vm.vm, test_answer_done, &quit);
    g_assert_true(test_wait(&f->vm.events.exited, 30));
    f->vm.events.exited = false;
    hv_vm_launch(f->vm.vm, HV_LAUNCH_INCOMING, 2, test_answer_done, &launched);
    test_answer_ok(&launched);
    hv_vm_load(f->vm.vm, socket, f->lazy, test_answer_done, &listens);
    test_answer_ok(&listens);
    return g_steal_pointer(&socket);
}

FerryPager *restore_begin_load(Restore *f)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *socket = restore_begin_incoming(f);
    FerryPager *pager =
        f->lazy ? ferry_pager_start_lazy(LIBEXEC_DIR, f->area.path, socket,
                                         hv_hugepages_block(f->vm.definition), &pager_events, f,
                                         &error)
                : ferry_pager_start(LIBEXEC_DIR, f->area.path, socket, &pager_events, f, &error);
    g_assert_no_error(error);
    g_assert_true(test_wait(&f->connected, 30));
    return pager;
}

FerryPager *restore_kill_pager(Restore *f, FerryPager *pager, unsigned round)
{
    ferry_pager_free(pager);
    return restore_go_on(f, round);
}

FerryPager *restore_go_on(Restore *f, unsigned round)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = g_strdup_printf("recover%u.sock", round);
    g_autofree char *socket = g_build_filename(f->vm.dir, name, NULL);
    f->recovered = true;
    f->running = false;
    hv_process_recover(f->vm.run_dir, f->vm.definition->name, socket, RECOVER_MS, &error);
    g_assert_no_error(error);
    FerryPager *pager = ferry_pager_start_again(LIBEXEC_DIR, f->area.path, socket,
                                                hv_hugepages_block(f->vm.definition), 1,
                                                &pager_events, f, &error);
    g_assert_no_error(error);
    g_assert_true(test_wait(&f->running, 30));
    return pager;
}

static FerryImageReader *open_image(FerryArea *area)
{
    g_autoptr(GError) error = NULL;
    FerryImageReader *reader = ferry_image_reader_open(area, 1, &error);
    g_assert_no_error(error);
    return reader;
}

static const uint8_t *page_of(FerryImageReader *reader, uint64_t page, uint8_t *buffer)
{
    g_autoptr(GError) error = NULL;
    memset(buffer, 0, FERRY_PAGE);
    if (ferry_image_reader_state(reader, page) == FERRY_PAGE_PRESENT)
        ferry_image_reader_pages(reader, page, 1, buffer, &error);
    g_assert_no_error(error);
    return buffer;
}

void restore_compare(const Restore *f)
{
    g_autoptr(FerryArea) one = ferry_area_open(f->area.path, NULL);
    g_autoptr(FerryArea) two = ferry_area_open(f->second.path, NULL);
    g_autoptr(FerryImageReader) first = open_image(one);
    g_autoptr(FerryImageReader) second = open_image(two);
    uint8_t *a = ferry_buffer_new(FERRY_PAGE), *b = ferry_buffer_new(FERRY_PAGE);
    uint64_t pages = ferry_image_reader_descriptor(first)->total_pages;
    g_assert_cmpuint(pages, ==, ferry_image_reader_descriptor(second)->total_pages);
    g_assert_cmpuint(pages, >=, FERRY_MIB(64) / FERRY_PAGE);
    for (uint64_t page = 0; page < pages; page++)
        g_assert_cmpint(
            memcmp(page_of(first, page, a), page_of(second, page, b), FERRY_PAGE), ==, 0);
    free(a);
    free(b);
}

uint64_t restore_offset_of_a_page(const Restore *f)
{
    g_autoptr(FerryArea) area = ferry_area_open(f->area.path, NULL);
    g_autoptr(FerryImageReader) reader = open_image(area);
    uint64_t page = 0;
    while (ferry_image_reader_state(reader, page) != FERRY_PAGE_PRESENT)
        page++;
    return ferry_image_reader_descriptor(reader)->pages_offset + page * FERRY_PAGE;
}

static bool incoming_completed(gpointer data)
{
    return ((Restore *)data)->vm.events.migration == HV_MIGRATION_COMPLETED;
}

void restore_wait_loaded(Restore *f)
{
    g_assert_true(test_wait(&f->loaded, 60));
    g_assert_no_error(f->error);
    g_assert_true(test_wait_for(incoming_completed, f, 60));
}

void restore_round_trip(Restore *f)
{
    vm_fixture_launch(&f->vm);
    vm_fixture_cont(&f->vm);
    restore_save(f, &f->area);
    g_assert_cmpuint(f->saved.passes, >=, 2);
    g_assert_cmpuint(f->saved.bytes_written, >=, f->saved.pages_present * FERRY_PAGE);
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 1);
    restore_wait_loaded(f);
    test_vm_wait_state(f->vm.vm, HV_RUN_PAUSED);
    restore_save(f, &f->second);
    restore_compare(f);
    vm_fixture_cont(&f->vm);
    test_vm_wait_state(f->vm.vm, HV_RUN_RUNNING);
}
