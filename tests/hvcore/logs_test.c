// SPDX-License-Identifier: GPL-2.0-or-later
// A VM's logs do not grow for ever.
#include "hvcore/logs.h"
#include "tests/hvcore/support.h"

#include <fcntl.h>
#include <unistd.h>

static void test_bound(void)
{
    g_autoptr(TestDir) dir = test_dir_new();
    g_autofree char *path = g_build_filename(dir, "console.log", NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    g_assert_cmpint(write(fd, "0123456789", 10), ==, 10);
    hv_logs_bound(dir, 10);
    g_autofree char *kept = NULL, *after = NULL;
    g_assert_true(g_file_get_contents(path, &kept, NULL, NULL));
    g_assert_cmpstr(kept, ==, "0123456789");
    hv_logs_bound(dir, 9);
    g_assert_cmpint(write(fd, "new", 3), ==, 3); // its writer goes on at the new end
    g_assert_true(g_file_get_contents(path, &after, NULL, NULL));
    g_assert_cmpstr(after, ==, "new");
    (void)close(fd);
}

static void test_rotate(void)
{
    g_autoptr(TestDir) dir = test_dir_new();
    g_autofree char *path = g_build_filename(dir, "qemu.log", NULL);
    g_autofree char *old = g_strconcat(path, ".old", NULL);
    hv_logs_rotate(dir); // nothing there: no harm
    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    hv_logs_rotate(dir);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(old, G_FILE_TEST_EXISTS));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/logs/bound", test_bound);
    g_test_add_func("/logs/rotate", test_rotate);
    return g_test_run();
}
