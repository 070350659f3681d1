// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: the real QEMU, saver and pager. A running guest is saved, loaded into another QEMU
// and, still paused, saved again: both images have to hold the same memory.
#include "tests/hvcore/isolate.h"
#include "tests/migrate/restore_support.h"

static void test_restore(Restore *f, gconstpointer data)
{
    if (data != NULL && !f->block_device) {
        g_test_skip("no loop device can be made here");
        return;
    }
    restore_round_trip(f);
}

static void test_wrong_epoch(Restore *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(&f->vm);
    vm_fixture_cont(&f->vm);
    restore_save(f, &f->area);
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 2);
    g_assert_true(test_wait(&f->failed, 60));
    g_assert_error(f->error, FERRY_ERROR, FERRY_ERROR_STATE);
    g_assert_false(f->loaded);
}

static void test_damaged_page(Restore *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(&f->vm);
    vm_fixture_cont(&f->vm);
    restore_save(f, &f->area);
    area_fixture_flip(&f->area, restore_offset_of_a_page(f));
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 1);
    g_assert_true(test_wait(&f->failed, 60));
    g_assert_error(f->error, FERRY_ERROR, FERRY_ERROR_CORRUPT);
    g_assert_cmpint(hv_vm_run_state(f->vm.vm), !=, HV_RUN_RUNNING);
}

static bool migration_failed(gpointer data)
{
    return ((Restore *)data)->vm.events.migration == HV_MIGRATION_FAILED;
}

// The saver goes away in the middle: QEMU's migration fails and its guest runs on.
static void test_saver_freed(Restore *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(&f->vm);
    vm_fixture_cont(&f->vm);
    FerrySaver *saver = restore_begin_save(f, &f->area);
    ferry_saver_free(saver);
    g_assert_true(test_wait_for(migration_failed, f, 60));
    test_vm_wait_state(f->vm.vm, HV_RUN_RUNNING);
    g_assert_false(f->flushed);
    g_assert_false(f->failed);
}

#define ADD(name, data, function)                                                                  \
    g_test_add("/restore/" name, Restore, data, restore_set_up, function, restore_tear_down)

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    ADD("file", NULL, test_restore);
    ADD("block-device", "loop", test_restore);
    ADD("wrong-epoch", NULL, test_wrong_epoch);
    ADD("damaged-page", NULL, test_damaged_page);
    ADD("saver-freed", NULL, test_saver_freed);
    return g_test_run();
}
