// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: the real QEMU runs a guest whose pages follow. What it has in the end is what was
// saved.
#include "tests/hvcore/isolate.h"
#include "tests/migrate/restore_support.h"

static void save_running_guest(Restore *f)
{
    vm_fixture_launch(&f->vm);
    vm_fixture_cont(&f->vm);
    restore_save(f, &f->area);
    f->lazy = true;
}

static void test_paused(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 1);
    test_vm_wait_state(f->vm.vm, HV_RUN_PAUSED);
    g_assert_true(test_wait(&f->running, 60));
    restore_wait_loaded(f);
    restore_save(f, &f->second);
    restore_compare(f);
}

static void test_running(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 1);
    test_vm_wait_state(f->vm.vm, HV_RUN_PAUSED);
    vm_fixture_cont(&f->vm);
    restore_wait_loaded(f);
    test_vm_wait_state(f->vm.vm, HV_RUN_RUNNING);
}

static void test_wrong_epoch(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 2);
    g_assert_true(test_wait(&f->failed, 60));
    g_assert_error(f->error, FERRY_ERROR, FERRY_ERROR_STATE);
    g_assert_false(f->running);
}

static void load_damaged(Restore *f, uint64_t offset)
{
    area_fixture_flip(&f->area, offset);
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 1);
    g_assert_true(test_wait(&f->failed, 60));
    g_assert_error(f->error, FERRY_ERROR, FERRY_ERROR_CORRUPT);
    g_assert_false(f->loaded);
}

static void test_damaged_page(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    load_damaged(f, restore_offset_of_a_page(f));
}

static void test_damaged_index(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    load_damaged(f, FERRY_INDEX_OFFSET + 9);
}

static void test_damaged_device(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    load_damaged(f, FERRY_DEVICE_OFFSET + 9);
    g_assert_false(f->running);
}

#define ADD(name, function)                                                                        \
    g_test_add("/lazy/" name, Restore, NULL, restore_set_up, function, restore_tear_down)

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    ADD("paused", test_paused);
    ADD("running", test_running);
    ADD("wrong-epoch", test_wrong_epoch);
    ADD("damaged-page", test_damaged_page);
    ADD("damaged-index", test_damaged_index);
    ADD("damaged-device", test_damaged_device);
    return g_test_run();
}
