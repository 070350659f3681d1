// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-launch: what is left to the program it turns into.
#include "hvcore/fs.h"
#include "hvcore/launcher.h"
#include "hvcore/run.h"
#include "tests/hvcore/support.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static HvUser nobody = {.name = (char *)"nobody", .ids = (char *)"65534:65533:12345"};
static const HvLauncher as_nobody = {TEST_LAUNCHER, &nobody}, as_self = {TEST_LAUNCHER, NULL};

static GPtrArray *shell_words(const char *script)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(argv, g_strdup("/bin/sh"));
    g_ptr_array_add(argv, g_strdup("-c"));
    g_ptr_array_add(argv, g_strdup(script));
    return argv;
}

// Its output; *STATUS as from waitpid. Takes ARGV.
static char *run(GPtrArray *argv, const int *fds, size_t n_fds, int *status)
{
    g_autoptr(GPtrArray) words = argv;
    g_autoptr(GError) error = NULL;
    g_auto(HvRunResult) result = {0};
    g_ptr_array_add(words, NULL);
    g_assert_true(hv_run((char *const *)words->pdata, fds, n_fds, 20000, &result, &error));
    g_assert_no_error(error);
    *status = result.status;
    return g_steal_pointer(&result.output);
}

static bool is_root(void)
{
    if (geteuid() == 0)
        return true;
    g_test_skip("only root can become another user");
    return false;
}

static void test_privileges(void)
{
    static const char *const lines[] = {"Uid:\t65534\t65534\t65534\t65534",
                                        "Gid:\t65533\t65533\t65533\t65533",
                                        "Groups:\t12345",
                                        "CapInh:\t0000000000000000",
                                        "CapPrm:\t0000000000000000",
                                        "CapEff:\t0000000000000000",
                                        "CapBnd:\t0000000000000000",
                                        "CapAmb:\t0000000000000000",
                                        "NoNewPrivs:\t1"};
    if (!is_root())
        return;
    GPtrArray *argv = shell_words("cat /proc/self/status");
    int status;
    hv_launcher_wrap(argv, &as_nobody, NULL, 0);
    g_autofree char *output = run(argv, NULL, 0, &status);
    g_assert_cmpint(status, ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
        if (!strstr(output, lines[i]))
            g_error("\"%s\" is not in:\n%s", lines[i], output);
}

static void test_bad_user(void)
{
    static const char *const ids[] = {"0:0", "65534", "65534:0", "65534:65533:", "x:y", "-1:5"};
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
        HvUser user = {.ids = (char *)ids[i]};
        const HvLauncher launcher = {TEST_LAUNCHER, &user};
        GPtrArray *argv = shell_words("echo ran");
        int status;
        hv_launcher_wrap(argv, &launcher, NULL, 0);
        g_autofree char *output = run(argv, NULL, 0, &status);
        g_assert_cmpint(status, !=, 0);
        g_assert_null(strstr(output, "ran\n"));
        g_assert_true(g_str_has_prefix(output, "vmferry-launch: "));
    }
}

enum { BLOCK = 4096 };

typedef struct {
    TestDir *dir;
    char *disk, *image; // of root, which nobody else may open
    char *block;        // what is in the disk
    HvDefinition *definition;
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    f->dir = test_dir_new();
    f->disk = g_build_filename(f->dir, "a:b,c.img", NULL);
    f->image = g_build_filename(f->dir, "ro.img", NULL);
    f->block = g_strnfill(BLOCK, '\n');
    memcpy(f->block, "disk", strlen("disk"));
    g_file_set_contents(f->disk, f->block, BLOCK, &error);
    g_file_set_contents(f->image, "image\n", -1, &error);
    g_assert_no_error(error);
    g_assert_cmpint(chmod(f->disk, 0600), ==, 0);
    g_autofree char *disks = g_strdup_printf(
        ",\"disks\":[{\"type\":\"file\",\"path\":\"%s\"},{\"type\":\"iscsi\",\"url\":"
        "\"iscsi://h/iqn.x:t/1\"},{\"type\":\"file\",\"path\":\"%s\",\"read_only\":true}]",
        f->disk, f->image);
    f->definition = test_definition(NULL, disks);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    (void)data;
    hv_definition_unref(f->definition);
    g_free(f->disk);
    g_free(f->image);
    g_free(f->block);
    test_dir_free(f->dir);
}

// Its descriptors are what it was given, the disks among them, and no other. With O_DIRECT a block is written, or
// nothing.
static void test_descriptors(Fixture *f, gconstpointer data)
{
    (void)data;
    static const int disks[] = {9, -1, 7};
    HV_AUTO_FD kept = fcntl(STDIN_FILENO, F_DUPFD, 30);
    HV_AUTO_FD other = fcntl(STDIN_FILENO, F_DUPFD, 60);
    const int inherited[] = {kept, other};
    if (!is_root())
        return;
    GPtrArray *argv = shell_words("ls /proc/$$/fd; cat <&9; cat <&7; ! echo less >&9 || echo buffered;"
                                  "dd if=/dev/zero bs=4096 count=1 status=none >&9;"
                                  "echo no >&7 || echo read-only");
    int status;
    hv_launcher_wrap_qemu(argv, &as_nobody, &kept, 1, f->definition, disks);
    g_autofree char *output = run(argv, inherited, 2, &status);
    // 10 is the shell's own.
    g_assert_true(g_str_has_prefix(output, "0\n1\n2\n30\n7\n9\n") ||
                  g_str_has_prefix(output, "0\n1\n10\n2\n30\n7\n9\n"));
    g_autofree char *both = g_strconcat(f->block, "image\n", NULL);
    g_assert_nonnull(strstr(output, both));
    g_assert_null(strstr(output, "buffered"));
    g_assert_true(g_str_has_suffix(output, "read-only"));
    static const char zeros[BLOCK];
    g_autofree char *written = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(f->disk, &written, &length, NULL));
    g_assert_cmpuint(length, ==, 2 * BLOCK);
    g_assert_cmpmem(written, BLOCK, f->block, BLOCK);
    g_assert_cmpmem(written + BLOCK, BLOCK, zeros, BLOCK);
}

static void test_disk_is_missing(Fixture *f, gconstpointer data)
{
    (void)data;
    static const int disks[] = {9, -1, 7};
    g_assert_cmpint(unlink(f->disk), ==, 0);
    GPtrArray *argv = shell_words("echo ran");
    int status;
    hv_launcher_wrap_qemu(argv, &as_self, NULL, 0, f->definition, disks);
    g_autofree char *output = run(argv, NULL, 0, &status);
    g_autofree char *expected =
        g_strdup_printf("vmferry-launch: %s: No such file or directory", f->disk);
    g_assert_cmpstr(output, ==, expected);
    g_assert_cmpint(status, !=, 0);
}

static void test_disk_without_direct_io(void)
{
    static const int disks[] = {9};
    g_autoptr(HvDefinition) definition = test_definition(
        NULL, ",\"disks\":[{\"type\":\"file\",\"path\":\"/proc/version\",\"read_only\":true}]");
    int status;
    GPtrArray *argv = shell_words("echo ran");
    hv_launcher_wrap_qemu(argv, &as_self, NULL, 0, definition, disks);
    g_autofree char *output = run(argv, NULL, 0, &status);
    g_assert_true(g_str_has_prefix(output, "vmferry-launch: /proc/version: its file system has no direct I/O"));
    g_assert_cmpint(status, !=, 0);
}

static void test_program_is_missing(void)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    int status;
    g_ptr_array_add(argv, g_strdup("/nowhere/qemu"));
    hv_launcher_wrap(argv, &as_self, NULL, 0);
    g_autofree char *output = run(argv, NULL, 0, &status);
    g_assert_cmpstr(output, ==, "vmferry-launch: /nowhere/qemu: No such file or directory");
    g_assert_cmpint(status, !=, 0);
}

static void test_userfault(void)
{
    g_autofree char *text = NULL;
    if (!is_root() ||
        !g_file_get_contents("/proc/sys/vm/unprivileged_userfaultfd", &text, NULL, NULL))
        return;
    g_assert_true(hv_launcher_try_userfault(&as_self, false));
    g_assert_true(hv_launcher_try_userfault(&as_nobody, false) == (text[0] == '1'));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/launcher/privileges", test_privileges);
    g_test_add_func("/launcher/bad-user", test_bad_user);
    g_test_add("/launcher/descriptors", Fixture, NULL, set_up, test_descriptors, tear_down);
    g_test_add("/launcher/disk-is-missing", Fixture, NULL, set_up, test_disk_is_missing, tear_down);
    g_test_add_func("/launcher/disk-without-direct-io", test_disk_without_direct_io);
    g_test_add_func("/launcher/program-is-missing", test_program_is_missing);
    g_test_add_func("/launcher/userfault", test_userfault);
    return g_test_run();
}
