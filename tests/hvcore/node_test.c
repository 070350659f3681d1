// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: what the probe finds out by running the real QEMU.
#include "hvcore/node_kvm.h"
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/support.h"

#include <string.h>
#include <unistd.h>

static void test_probe(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvNode) node = hv_node_probe(NULL, &error);
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
    g_assert_true(hv_node_try_guest(node->qemu_path, "tcg", 10000, &good));
    g_assert_cmpstr(good, ==, "tcg ran a test guest");
    g_assert_false(hv_node_try_guest(node->qemu_path, "xen", 10000, &bad));
    g_assert_nonnull(strstr(bad, "did not run"));
}

static void test_no_qemu(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(hv_node_probe("/nowhere/qemu", &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_START);
    g_assert_nonnull(strstr(error->message, "install"));
    g_clear_error(&error);
    g_assert_null(hv_node_probe("/bin/true", &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_START);
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
    g_test_add_func("/node/no-qemu", test_no_qemu);
    g_test_add_func("/node/memory", test_memory);
    return g_test_run();
}
