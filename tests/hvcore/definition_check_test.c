// SPDX-License-Identifier: GPL-2.0-or-later
// What a node lacks is named, with the remedy.
#include "hvcore/definition.h"
#include "tests/hvcore/support.h"

#include <string.h>
#include <unistd.h>

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB"

static const HvNodeCheck kvm = {.accelerator = "kvm"}, tcg = {.accelerator = "tcg"};
static TestDir *dir;
static char *image;

static void expect_missing(const char *extra, const char *prefix, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = test_definition(NULL, extra);
    g_assert_false(hv_definition_check_node(definition, &kvm, &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_RESOURCE);
    if (!g_str_has_prefix(error->message, prefix) || !strstr(error->message, part))
        g_error("\"%s\" does not begin with \"%s\" and hold \"%s\"", error->message, prefix, part);
}

static void test_usable(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = test_definition(image, "");
    g_assert_true(hv_definition_check_node(definition, &kvm, &error));
    g_assert_no_error(error);
}

static void test_disks(void)
{
    g_autofree char *block =
        g_strdup_printf(",\"disks\":[{\"type\":\"block\",\"path\":\"%s\"}]", image);
    g_autofree char *qcow2 = g_strdup_printf(
        ",\"disks\":[{\"type\":\"file\",\"path\":\"%s\",\"format\":\"qcow2\"}]", image);
    expect_missing(",\"disks\":[{\"type\":\"file\",\"path\":\"/nowhere/a\"}]",
                   "disks[0]: ", "mounted");
    expect_missing(",\"disks\":[{\"type\":\"file\",\"path\":\"/dev/null\"}]",
                   "disks[0]: ", "not a regular file");
    expect_missing(block, "disks[0]: ", "not a block device");
    expect_missing(qcow2, "disks[0]: ", "no qcow2 image");
}

static void test_iscsi(void)
{
    // Port 1 of this machine: refused at once.
    expect_missing(",\"disks\":[{\"type\":\"iscsi\",\"url\":\"iscsi://127.0.0.1:1/iqn.x:t/1\"}]",
                   "disks[0]: ", "iscsi://127.0.0.1:1");
}

static void test_bridge(void)
{
    expect_missing(",\"nics\":[{\"bridge\":\"vf-none\"}]", "nics[0].bridge: ", "no bridge vf-none");
    expect_missing(",\"nics\":[{\"bridge\":\"lo\"}]", "nics[0].bridge: ", "not a bridge");
}

static void test_files(void)
{
    expect_missing(",\"boot\":{\"kernel\":\"/nowhere/k\"}", "boot.kernel: ", "No such file");
    expect_missing(",\"firmware\":\"/nowhere/f\"", "firmware: ", "No such file");
    expect_missing(",\"firmware\":\"/tmp\"", "firmware: ", "not a file");
}

static HvDefinition *with_memory(uint64_t mib, const char *extra)
{
    g_autofree char *base = test_definition_text(NULL, extra);
    g_auto(GStrv) parts = g_strsplit(base, "\"memory_mib\":64", 2);
    g_autofree char *key = g_strdup_printf("\"memory_mib\":%" G_GUINT64_FORMAT, mib);
    g_autofree char *text = g_strjoinv(key, parts);
    g_autoptr(GError) error = NULL;
    HvDefinition *definition = hv_definition_parse(text, &error);
    g_assert_no_error(error);
    return definition;
}

static void test_memory(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = with_memory(67108864, "");
    g_assert_false(hv_definition_check_node(definition, &kvm, &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_RESOURCE);
    g_assert_true(g_str_has_prefix(error->message, "memory_mib: 67108864 MiB, but this node has "));
    g_assert_nonnull(strstr(error->message, "choose a larger node"));
}

// All of the machine's memory is never free, but a VM may have it already.
static void test_memory_it_has(void)
{
    const HvNodeCheck has_it = {.accelerator = "kvm", .has_memory = true};
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >> 20;
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = with_memory(total, "");
    g_assert_false(hv_definition_check_node(definition, &kvm, &error));
    g_assert_nonnull(strstr(error->message, "available on this node"));
    g_clear_error(&error);
    g_assert_true(hv_definition_check_node(definition, &has_it, &error));
    g_assert_no_error(error);
}

static void test_hugepages(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = with_memory(67108864, ",\"hugepages\":true");
    g_assert_false(hv_definition_check_node(definition, &kvm, &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_RESOURCE);
    g_assert_true(g_str_has_prefix(error->message, "hugepages: "));
    g_assert_nonnull(strstr(error->message, access(POOL, F_OK) == 0 ? "vm.nr_hugepages" : "kernel"));
    g_clear_error(&error);
    g_assert_false(hv_definition_check_node(definition, &tcg, &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_RESOURCE);
    g_assert_nonnull(strstr(error->message, "no KVM"));
}

int main(int argc, char **argv)
{
    static const unsigned char code[] = {0xf4};
    g_test_init(&argc, &argv, NULL);
    dir = test_dir_new();
    image = test_boot_disk(dir, code, sizeof code);
    g_test_add_func("/check/usable", test_usable);
    g_test_add_func("/check/disks", test_disks);
    g_test_add_func("/check/iscsi", test_iscsi);
    g_test_add_func("/check/bridge", test_bridge);
    g_test_add_func("/check/files", test_files);
    g_test_add_func("/check/memory", test_memory);
    g_test_add_func("/check/memory-it-has", test_memory_it_has);
    g_test_add_func("/check/hugepages", test_hugepages);
    int result = g_test_run();
    g_free(image);
    test_dir_free(dir);
    return result;
}
