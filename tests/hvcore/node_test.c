// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: what the probe finds out by running the real QEMU.
#include "hvcore/node_kvm.h"
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/support.h"

#include <string.h>
#include <unistd.h>

static const HvLauncher launcher = {TEST_LAUNCHER, NULL};

static HvNode *probe(const char *qemu, const char *user, GError **error)
{
    const HvNodeSetup setup = {qemu, TEST_LAUNCHER, user, NULL};
    return hv_node_probe(&setup, error);
}

static void test_probe(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvNode) node = probe(NULL, "root", &error);
    g_assert_no_error(error);
    g_assert_true(g_path_is_absolute(node->qemu_path));
    g_assert_true(g_ascii_isdigit(node->qemu_version[0]) && strchr(node->qemu_version, '.'));
    bool kvm = g_str_equal(node->accelerator, "kvm");
    g_assert_true(kvm || g_str_equal(node->accelerator, "tcg"));
    g_assert_true(kvm == g_str_equal(node->accelerator_reason, "kvm ran a test guest"));
    g_assert_cmpuint(node->memory_mib, >, 0);
    g_assert_cmpuint(node->cpus, >, 0);
    if (access("/dev/kvm", F_OK) < 0)
        g_assert_cmpstr(node->accelerator_reason, ==, "/dev/kvm: No such file or directory");
}

// The probe's guest itself is sound: it runs where an accelerator works, and fails where none does.
static void test_guest(void)
{
    g_autoptr(HvNode) node = test_node();
    g_autofree char *good = NULL, *bad = NULL;
    g_assert_true(hv_node_try_guest(&launcher, node->qemu_path, "tcg", 10000, &good));
    g_assert_cmpstr(good, ==, "tcg ran a test guest");
    g_assert_false(hv_node_try_guest(&launcher, node->qemu_path, "xen", 10000, &bad));
    g_assert_nonnull(strstr(bad, "did not run"));
}

// What the admin says is not tried, but has to be possible.
static void test_accelerator_said(void)
{
    g_autoptr(GError) error = NULL;
    HvNodeSetup setup = {NULL, TEST_LAUNCHER, "root", "tcg"};
    g_autoptr(HvNode) node = hv_node_probe(&setup, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(node->accelerator, ==, "tcg");
    g_assert_cmpstr(node->accelerator_reason, ==, "as configured");
    setup.accelerator = "kvm";
    g_autoptr(HvNode) kvm = hv_node_probe(&setup, &error);
    if (access("/dev/kvm", R_OK | W_OK) == 0) {
        g_assert_no_error(error);
        g_assert_cmpstr(kvm->accelerator, ==, "kvm");
    } else {
        g_assert_error(error, HV_ERROR, HV_ERROR_START);
        g_assert_nonnull(strstr(error->message, "/dev/kvm"));
    }
}

static void test_no_qemu(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(probe("/nowhere/qemu", "root", &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_START);
    g_assert_nonnull(strstr(error->message, "install"));
    g_clear_error(&error);
    g_assert_null(probe("/bin/true", "root", &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_START);
}

static void test_user(void)
{
    g_autoptr(GError) error = NULL;
    if (geteuid() != 0) {
        g_test_skip("only root can become another user");
        return;
    }
    g_autoptr(HvNode) node = probe(NULL, "nobody", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(node->user->name, ==, "nobody");
    g_assert_null(probe(NULL, "no such user", &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_START);
    g_assert_nonnull(strstr(error->message, "systemd-sysusers"));
}

static void test_memory(void)
{
    g_autoptr(GError) error = NULL;
    uint64_t mib = 0;
    g_assert_true(hv_node_memory_available(&mib, &error));
    g_assert_cmpuint(mib, >, 0);
}

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/node/probe", test_probe);
    g_test_add_func("/node/guest", test_guest);
    g_test_add_func("/node/accelerator-said", test_accelerator_said);
    g_test_add_func("/node/no-qemu", test_no_qemu);
    g_test_add_func("/node/user", test_user);
    g_test_add_func("/node/memory", test_memory);
    return g_test_run();
}
