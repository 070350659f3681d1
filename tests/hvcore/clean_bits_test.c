// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: QEMU looks at its dirty bits once before it runs, and nothing of that is left; a
// lazy load's end is told by its userfaultfd.
#include "hvcore/definition_private.h"
#include "hvcore/fs.h"
#include "hvcore/process_file.h"
#include "hvcore/qmp_blocking.h"
#include "hvcore/userfault.h"
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/vm_fixture.h"

#include <fcntl.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static json_t *ask(QmpBlocking *qmp, const char *command)
{
    g_autoptr(GError) error = NULL;
    json_t *result = qmp_blocking_execute(qmp, command, &error);
    g_assert_no_error(error);
    return result;
}

static void assert_none(QmpBlocking *qmp, const char *command)
{
    g_autoptr(json_t) list = ask(qmp, command);
    g_assert_cmpuint(json_array_size(list), ==, 0);
}

static void assert_no_node(QmpBlocking *qmp)
{
    g_autoptr(json_t) nodes = ask(qmp, "query-named-block-nodes");
    size_t i;
    json_t *node;
    json_array_foreach(nodes, i, node)
    {
        const char *name = json_string_value(json_object_get(node, "node-name"));
        g_assert_false(g_str_has_prefix(name, "vmferry-clean"));
    }
}

static void assert_no_file(VmFixture *f, const char *name)
{
    g_autofree char *path = hv_vm_qemu_file(f->run_dir, "web1", name);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

// The snapshot's own state is all that tells that it was made; STATUS is NULL where there was none.
static void assert_clean(VmFixture *f, const char *status)
{
    g_autofree char *path = hv_vm_file(f->run_dir, "web1", "qmp-aux.sock");
    g_autoptr(GError) error = NULL;
    g_auto(QmpBlocking) qmp = {.fd = -1};
    gint64 end_us = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    g_assert_true(qmp_blocking_open(&qmp, path, end_us, &error));
    g_autoptr(json_t) migration = ask(&qmp, "query-migrate");
    g_assert_cmpstr(json_string_value(json_object_get(migration, "status")), ==, status);
    assert_none(&qmp, "query-jobs");
    assert_none(&qmp, "query-block-exports");
    assert_no_node(&qmp);
    assert_no_file(f, "clean.qcow2");
    assert_no_file(f, "clean.sock");
}

typedef struct {
    bool called;
    HvMigration migration;
} Info;

static void on_info(HvVm *vm, const HvMigration *migration, const GError *error, gpointer data)
{
    (void)vm;
    Info *info = data;
    g_assert_no_error(error);
    info->migration = *migration;
    info->called = true;
}

static void assert_tells_none(VmFixture *f)
{
    Info info = {0};
    hv_vm_query_migration(f->vm, on_info, &info);
    g_assert_true(test_wait(&info.called, 30));
    g_assert_cmpint(info.migration.status, ==, HV_MIGRATION_NONE);
    g_assert_cmpint(f->events.migration, ==, HV_MIGRATION_NONE);
}

static void test_cold(VmFixture *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(f);
    assert_clean(f, "completed");
    assert_tells_none(f);
    vm_fixture_cont(f);
    test_vm_wait_state(f->vm, HV_RUN_RUNNING);
}

static void test_incoming(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) launched = {0}, loading = {0};
    g_autofree char *path = hv_vm_file(f->run_dir, "web1", "in.sock");
    hv_vm_launch(f->vm, HV_LAUNCH_INCOMING, 8, test_answer_done, &launched);
    test_answer_ok(&launched);
    g_assert_cmpint(hv_vm_run_state(f->vm), ==, HV_RUN_INMIGRATE);
    assert_clean(f, "completed");
    assert_tells_none(f);
    hv_vm_load(f->vm, path, false, test_answer_done, &loading);
    test_answer_ok(&loading);
}

// Without a place for its file QEMU starts as well.
static void test_no_place(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_autofree char *path = hv_vm_qemu_file(f->run_dir, "web1", "clean.qcow2");
    g_autofree char *beyond = g_build_filename(path, "full", NULL);
    g_assert_cmpint(g_mkdir_with_parents(beyond, 0700), ==, 0);
    vm_fixture_launch(f);
    g_assert_cmpint(rmdir(beyond) + rmdir(path), ==, 0);
    assert_clean(f, NULL);
}

// What fails halfway leaves nothing behind either.
static void test_no_server(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) launched = {0};
    g_autofree char *path = hv_vm_qemu_file(f->run_dir, "web1", "clean.sock");
    g_autofree char *beyond = g_build_filename(path, "taken", NULL);
    g_assert_cmpint(g_mkdir_with_parents(beyond, 0700), ==, 0); // no NBD server for it
    hv_vm_launch(f->vm, HV_LAUNCH_INCOMING, 8, test_answer_done, &launched);
    test_answer_ok(&launched);
    g_assert_cmpint(rmdir(beyond) + rmdir(path), ==, 0);
    assert_clean(f, NULL);
}

static void test_kvm(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_autofree char *reason = NULL;
    if (!vm_fixture_use_kvm(f, &reason)) {
        g_test_skip(reason);
        return;
    }
    vm_fixture_launch(f);
    assert_clean(f, NULL);
}

static void test_userfault(void)
{
    HV_AUTO_FD self = pidfd_open(getpid(), 0);
    g_assert_true(hv_userfault_closed(getpid(), self));
    HV_AUTO_FD fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (fd < 0) {
        g_test_skip("no userfaultfd for this user");
        return;
    }
    g_assert_false(hv_userfault_closed(getpid(), self));
    hv_close_fd(&fd);
    g_assert_true(hv_userfault_closed(getpid(), self));
    g_assert_false(hv_userfault_closed(0, self)); // no process: nothing is proven
}

#define ADD(name, function)                                                                        \
    g_test_add("/clean-bits/" name, VmFixture, NULL, vm_fixture_count, function, vm_fixture_clear)

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    ADD("cold", test_cold);
    ADD("incoming", test_incoming);
    ADD("no-place", test_no_place);
    ADD("no-server", test_no_server);
    ADD("kvm", test_kvm);
    g_test_add_func("/clean-bits/userfault", test_userfault);
    return g_test_run();
}
