// SPDX-License-Identifier: GPL-2.0-or-later
// File systems that only the owner mounts: what is or may be mounted is known, whoever was killed.
// mount(8) and umount(8) are the test's: they mount a tmpfs, which needs no device.
#include "hvcore/filesystem.h"
#include "hvcore/mount_table.h"
#include "hvcore/storage_path.h"
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/support.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define EXCLUSIVE                                                                                  \
    ",\"storage\":[{\"name\":\"d\",\"type\":\"lun\",\"wwid\":\"3600\"},{\"name\":\"fs\",\"type\":" \
    "\"filesystem\",\"on\":\"d\",\"fstype\":\"ext4\",\"options\":\"noatime\"}]"

typedef struct {
    TestDir *dir;
    HvDefinition *definition;
    const HvStorage *storage;
} Fixture;

static void write_program(const Fixture *f, const char *name, const char *body)
{
    g_autofree char *path = g_build_filename(f->dir, name, NULL);
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n%s\n", body);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(g_chmod(path, 0700), ==, 0);
}

static void set_up(Fixture *f, gconstpointer unused)
{
    (void)unused;
    f->dir = test_dir_new();
    g_autofree char *run = g_build_filename(f->dir, "run", NULL);
    g_autofree char *vm = g_build_filename(run, "web1", NULL);
    g_assert_cmpint(g_mkdir_with_parents(vm, 0700), ==, 0);
    hv_storage_set_run_dir(run);
    hv_mount_directory = f->dir;
    // mount -t ext4 -o noatime DEVICE POINT
    write_program(
        f, "mount",
        "[ \"$1$2$3$4\" = -text4-onoatime ] || exit 32; exec /bin/mount -t tmpfs none \"$6\"");
    write_program(f, "umount", "exec /bin/umount \"$1\"");
    f->definition = test_definition(NULL, EXCLUSIVE);
    f->storage = &f->definition->storage[1];
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    (void)unused;
    (void)umount2(f->storage->path, MNT_DETACH);
    hv_definition_unref(f->definition);
    test_dir_free(f->dir);
    hv_mount_directory = "";
}

static bool is_mounted(const Fixture *f)
{
    g_autofree char *table = hv_mount_table();
    g_auto(HvMount) mount = {0};
    return hv_mount_at(table, f->storage->path, &mount);
}

static bool cannot_mount(void)
{
    if (geteuid() == 0 && getpid() <= 2) // isolated, in a mount namespace of its own
        return false;
    g_test_skip("needs a mount namespace");
    return true;
}

static void test_mount_and_release(Fixture *f, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    if (cannot_mount())
        return;
    g_assert_false(hv_filesystems_held("web1"));
    g_assert_true(hv_filesystem_mount("web1", f->storage, "/dev/null", &error));
    g_assert_no_error(error);
    g_assert_true(is_mounted(f));
    g_assert_true(hv_filesystems_held("web1"));
    g_assert_false(hv_filesystems_held("web2"));
    g_assert_true(hv_filesystems_release("web1", &error));
    g_assert_no_error(error);
    g_assert_false(is_mounted(f));
    g_assert_false(hv_filesystems_held("web1"));
    g_assert_false(g_file_test(f->storage->path, G_FILE_TEST_EXISTS));
    g_assert_true(hv_filesystems_release("web1", &error)); // nothing is left to do
    g_assert_no_error(error);
}

static void test_something_else_is_there(Fixture *f, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    if (cannot_mount())
        return;
    g_assert_cmpint(g_mkdir_with_parents(f->storage->path, 0700), ==, 0);
    g_assert_cmpint(mount("none", f->storage->path, "tmpfs", 0, NULL), ==, 0);
    g_assert_false(hv_filesystem_mount("web1", f->storage, "/dev/null", &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_RESOURCE);
    g_assert_nonnull(strstr(error->message, "is mounted there already"));
}

static void test_mount_fails(Fixture *f, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    write_program(f, "mount", "echo 'wrong fs type, bad superblock' >&2; exit 32");
    g_assert_false(hv_filesystem_mount("web1", f->storage, "/dev/null", &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_RESOURCE);
    g_assert_nonnull(strstr(error->message, "/dev/null cannot be mounted at "));
    g_assert_nonnull(strstr(error->message, "wrong fs type, bad superblock"));
    g_assert_true(hv_filesystems_held("web1")); // until it is known that it is not there
    g_clear_error(&error);
    g_assert_true(hv_filesystems_release("web1", &error));
    g_assert_no_error(error);
    g_assert_false(hv_filesystems_held("web1"));
}

static void test_in_use(Fixture *f, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    if (cannot_mount())
        return;
    g_assert_true(hv_filesystem_mount("web1", f->storage, "/dev/null", &error));
    int user = open(f->storage->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(user, >=, 0);
    g_assert_false(hv_filesystems_release("web1", &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_RESOURCE);
    g_assert_nonnull(strstr(error->message, "web1's file system \"fs\" cannot be unmounted"));
    g_assert_nonnull(strstr(error->message, "fuser -vm"));
    g_assert_true(is_mounted(f));
    g_assert_true(hv_filesystems_held("web1"));
    close(user);
    g_clear_error(&error);
    g_assert_true(hv_filesystems_release("web1", &error));
    g_assert_no_error(error);
}

static gpointer mount_in_thread(gpointer data)
{
    Fixture *f = data;
    (void)hv_filesystem_mount("web1", f->storage, "/dev/null", NULL);
    return NULL;
}

static bool is_hanging(gpointer data)
{
    g_autofree char *path = g_build_filename(((Fixture *)data)->dir, "pid", NULL);
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

// A mount that has not come back counts as mounted.
static void test_hanging(Fixture *f, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    g_autofree char *body = g_strdup_printf("echo $$ >%s/pid.new; mv %s/pid.new %s/pid\n"
                                            "while [ -e %s/pid ]; do sleep 0.05; done; exit 1",
                                            f->dir, f->dir, f->dir, f->dir);
    g_autofree char *pid = g_build_filename(f->dir, "pid", NULL);
    write_program(f, "mount", body);
    GThread *thread = g_thread_new("mount", mount_in_thread, f);
    while (!is_hanging(f))
        g_usleep(10000);
    g_assert_true(hv_filesystems_held("web1"));
    g_assert_false(hv_filesystems_release("web1", &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_UNKNOWN);
    g_assert_nonnull(strstr(error->message, "may still come about"));
    g_assert_cmpint(g_unlink(pid), ==, 0);
    g_thread_join(thread);
    g_clear_error(&error);
    g_assert_true(hv_filesystems_release("web1", &error));
    g_assert_no_error(error);
}

static void test_table(void)
{
    static const char table[] = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
                                "36 22 0:52 /x /srv/a\\040b rw - nfs4 nas:/v\\134m rw,vers=4.2\n"
                                "37 22 253:7 / /srv rw shared:2 master:1 - xfs /dev/mapper/old rw\n"
                                "38 22 253:8 / /srv rw shared:2 master:1 - xfs /dev/mapper/top rw\n"
                                "39 22 nonsense / /other rw - ext4 /dev/sdb rw\n"
                                "40 22 8:2 / /cut rw shared:3\n";
    g_auto(HvMount) top = {0}, escaped = {0}, of = {0}, none = {0};
    g_assert_true(hv_mount_at(table, "/srv", &top));
    g_assert_cmpstr(top.source, ==, "/dev/mapper/top");
    g_assert_cmpstr(top.fstype, ==, "xfs");
    g_assert_true(hv_mount_at(table, "/srv/a b", &escaped));
    g_assert_cmpstr(escaped.source, ==, "nas:/v\\m");
    g_assert_true(hv_mount_of(table, makedev(253, 7), &of));
    g_assert_cmpstr(of.source, ==, "/dev/mapper/old");
    g_assert_false(hv_mount_at(table, "/other", &none));
    g_assert_false(hv_mount_at(table, "/cut", &none));
    g_assert_false(hv_mount_at(table, "/srv/", &none));
    g_assert_false(hv_mount_of(table, makedev(8, 9), &none));
}

#define ADD(name, function)                                                                        \
    g_test_add("/filesystem/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    ADD("mount-and-release", test_mount_and_release);
    ADD("something-else", test_something_else_is_there);
    ADD("refused", test_mount_fails);
    ADD("in-use", test_in_use);
    ADD("hanging", test_hanging);
    g_test_add_func("/filesystem/table", test_table);
    return g_test_run();
}
