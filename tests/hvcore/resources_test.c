// SPDX-License-Identifier: GPL-2.0-or-later
// Limits are applied by a systemd scope, or said not to be.
#include "hvcore/resources.h"
#include "tests/hvcore/support.h"

#include <string.h>

static GPtrArray *qemu_words(void)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(argv, g_strdup("/usr/bin/qemu"));
    g_ptr_array_add(argv, NULL);
    return argv;
}

static void test_none(void)
{
    g_autoptr(HvDefinition) definition = test_definition(NULL, "");
    g_autoptr(GPtrArray) argv = qemu_words();
    g_assert_null(hv_resources_wrap(argv, definition, false));
    g_assert_cmpuint(argv->len, ==, 2);
    g_assert_null(hv_resources_wrap(argv, definition, true)); // a scope is a cgroup, too
    g_assert_nonnull(strstr(argv->pdata[0], "systemd-run"));
    g_assert_cmpstr(argv->pdata[argv->len - 2], ==, "/usr/bin/qemu");
}

static void test_no_systemd(void)
{
    g_autoptr(HvDefinition) definition =
        test_definition(NULL, ",\"resources\":{\"cpu_weight\":50}");
    g_autoptr(GPtrArray) argv = qemu_words();
    g_autofree char *note = hv_resources_wrap(argv, definition, false);
    g_assert_nonnull(strstr(note, "not applied"));
    g_assert_cmpuint(argv->len, ==, 2);
}

static void test_scope(void)
{
    g_autoptr(HvDefinition) definition = test_definition(
        NULL, ",\"resources\":{\"cpu_weight\":50,\"io_weight\":20,\"memory_max_mib\":256}");
    g_autoptr(GPtrArray) argv = qemu_words();
    g_autofree char *note = hv_resources_wrap(argv, definition, true);
    g_assert_null(note);
    g_autofree char *line = g_strjoinv(" ", (char **)argv->pdata);
    g_assert_nonnull(strstr(line, "systemd-run --scope --quiet --collect --slice=vmferry.slice "
                                  "--unit=vmferry-web1-"));
    g_assert_nonnull(strstr(line, " --property=After=vmferryd.service "
                                  "--property=Before=pacemaker.service "
                                  "--description=VM web1 --property=CPUWeight=50 "
                                  "--property=IOWeight=20 --property=MemoryMax=256M -- "
                                  "/usr/bin/qemu"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/resources/none", test_none);
    g_test_add_func("/resources/no-systemd", test_no_systemd);
    g_test_add_func("/resources/scope", test_scope);
    return g_test_run();
}
