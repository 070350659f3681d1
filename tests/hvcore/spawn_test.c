// SPDX-License-Identifier: GPL-2.0-or-later
// Starting a program in two steps, and what it inherits.
#include "hvcore/fs.h"
#include "hvcore/run.h"
#include "hvcore/spawn.h"
#include "tests/hvcore/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *shell(const char *script, const int *fds, size_t n_fds)
{
    char *const argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)script, NULL};
    g_autoptr(GError) error = NULL;
    g_auto(HvRunResult) result = {0};
    g_assert_true(hv_run(argv, fds, n_fds, 20000, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpint(result.status, ==, 0);
    return g_steal_pointer(&result.output);
}

static void test_environment(void)
{
    g_setenv("VMFERRY_SECRET", "x", TRUE);
    g_autofree char *output = shell("env", NULL, 0);
    g_assert_null(strstr(output, "VMFERRY_SECRET"));
    g_assert_nonnull(strstr(output, "LC_ALL=C.UTF-8"));
}

static void test_session(void)
{
    g_autofree char *output = shell("cut -d' ' -f1,6 /proc/$$/stat; pwd", NULL, 0);
    g_auto(GStrv) lines = g_strsplit(output, "\n", 0);
    g_auto(GStrv) ids = g_strsplit(lines[0], " ", 2);
    g_assert_cmpstr(ids[0], ==, ids[1]); // it leads its own session
    g_assert_cmpstr(lines[1], ==, "/");
}

static void test_descriptors(void)
{
    HV_AUTO_FD kept = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    HV_AUTO_FD secret = open("/dev/zero", O_RDONLY); // not even close-on-exec
    g_autofree char *script =
        g_strdup_printf("test -e /proc/$$/fd/%d && test ! -e /proc/$$/fd/%d", kept, secret);
    g_autofree char *output = shell(script, &kept, 1);
    g_assert_cmpstr(output, ==, "");
}

static void test_no_such_program(void)
{
    char *const argv[] = {(char *)"/nowhere/qemu", NULL};
    g_autoptr(GError) error = NULL;
    g_auto(HvRunResult) result = {0};
    g_assert_false(hv_run(argv, NULL, 0, 20000, &result, &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_START);
    g_assert_nonnull(strstr(error->message, "/nowhere/qemu: No such file"));
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1); // nothing is left behind
}

static void test_deadline(void)
{
    char *const argv[] = {(char *)"/bin/sleep", (char *)"1000", NULL};
    g_autoptr(GError) error = NULL;
    g_auto(HvRunResult) result = {0};
    g_assert_false(hv_run(argv, NULL, 0, 100, &result, &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_TIMEOUT);
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
}

static void test_not_released(void)
{
    g_autofree char *mark = g_build_filename(g_get_tmp_dir(), "hvcore-spawn-mark", NULL);
    char *const argv[] = {(char *)"/bin/touch", mark, NULL};
    g_autoptr(GError) error = NULL;
    (void)unlink(mark);
    {
        g_auto(HvSpawn) spawn = HV_SPAWN_INIT;
        g_assert_true(hv_spawn_prepare(argv, STDOUT_FILENO, NULL, 0, &spawn, &error));
        g_assert_cmpint(spawn.pid, >, 0);
    }
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
    g_assert_false(g_file_test(mark, G_FILE_TEST_EXISTS));
}

// Whoever dies between the two steps leaves nothing that runs.
static void test_parent_dies(void)
{
    char *const argv[] = {(char *)"/bin/sleep", (char *)"1000", NULL};
    g_auto(HvSpawn) spawn = HV_SPAWN_INIT;
    g_autoptr(GError) error = NULL;
    g_assert_true(hv_spawn_prepare(argv, STDOUT_FILENO, NULL, 0, &spawn, &error));
    hv_close_fd(&spawn.release); // what the kernel does for a dead parent
    int status = 0;
    g_assert_cmpint(waitpid(spawn.pid, &status, 0), ==, spawn.pid);
    spawn.pid = 0;
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 127);
}

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/spawn/environment", test_environment);
    g_test_add_func("/spawn/session", test_session);
    g_test_add_func("/spawn/descriptors", test_descriptors);
    g_test_add_func("/spawn/no-such-program", test_no_such_program);
    g_test_add_func("/spawn/deadline", test_deadline);
    g_test_add_func("/spawn/not-released", test_not_released);
    g_test_add_func("/spawn/parent-dies", test_parent_dies);
    return g_test_run();
}
