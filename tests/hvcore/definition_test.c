// SPDX-License-Identifier: GPL-2.0-or-later
// Parsing of definitions that are accepted: defaults, round trip, digest, differences.
#include "hvcore/definition_private.h"
#include "tests/hvcore/support.h"

#include <string.h>

static const char full[] =
    "{\"name\":\"db-1.prod\",\"uuid\":\"3F2A6C1E-0B5D-4F2E-9A7C-5D1E8B2F4A60\","
    "\"memory_mib\":2048,\"hugepages\":true,\"vcpus\":4,\"cpu\":\"EPYC,-sse4a\",\"machine\":\"pc-i440fx-10.0\","
    "\"firmware\":\"/usr/share/ovmf/OVMF.fd\",\"boot\":{\"kernel\":\"/k\",\"initrd\":\"/i\","
    "\"cmdline\":\"root=/dev/vda ro\"},\"disks\":[{\"id\":\"root\",\"type\":\"block\",\"path\":"
    "\"/dev/mapper/lun1\",\"format\":\"qcow2\",\"read_only\":true},{\"type\":\"iscsi\",\"url\":"
    "\"iscsi://10.0.0.9/iqn.2020-01.org.example:t1/1\"}],\"nics\":[{\"id\":\"lan\",\"bridge\":"
    "\"br0\",\"mac\":\"52:54:00:AA:bb:01\",\"model\":\"e1000e\"},{\"bridge\":\"br1\"}],"
    "\"serial\":\"none\",\"guest_agent\":true,\"on_stop\":\"shutdown\",\"state_area\":\"/shared/db.state\","
    "\"max_blackout_ms\":250,\"convergence\":\"abort\",\"max_throttle_percent\":0,\"resources\":{\"cpu_weight\":200,\"io_weight\":50,"
    "\"memory_max_mib\":4096}}";

static HvDefinition *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    HvDefinition *definition = hv_definition_parse(text, &error);
    g_assert_no_error(error);
    return definition;
}

static void test_defaults(void)
{
    g_autoptr(HvDefinition) d = test_definition("/shared/web1.img", "");
    g_assert_false(d->hugepages);
    g_assert_false(d->guest_agent);
    g_assert_cmpuint(d->vcpus, ==, 1);
    g_assert_cmpstr(d->cpu, ==, "qemu64");
    g_assert_cmpstr(d->firmware, ==, "bios");
    g_assert_cmpint(d->serial, ==, HV_SERIAL_CONSOLE);
    g_assert_cmpint(d->on_stop, ==, HV_ON_STOP_SAVE);
    g_assert_cmpuint(d->max_blackout_ms, ==, 100);
    g_assert_cmpint(d->convergence, ==, HV_CONVERGENCE_FORCE);
    g_assert_cmpuint(d->max_throttle_percent, ==, 80);
    g_assert_null(d->kernel);
    g_assert_cmpuint(d->n_disks, ==, 1);
    g_assert_cmpstr(d->disks[0].id, ==, "disk0");
    g_assert_cmpstr(d->disks[0].format, ==, "raw");
    g_assert_false(d->disks[0].read_only);
    g_assert_cmpuint(d->n_nics, ==, 0);
    g_assert_cmpuint(d->resources.cpu_weight, ==, 0);
}

static void test_everything(void)
{
    g_autoptr(HvDefinition) d = parse(full);
    g_assert_cmpstr(d->uuid, ==, "3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60");
    g_assert_true(d->hugepages);
    g_assert_true(d->guest_agent);
    g_assert_cmpint(d->disks[0].type, ==, HV_DISK_BLOCK);
    g_assert_true(d->disks[0].read_only);
    g_assert_cmpint(d->disks[1].type, ==, HV_DISK_ISCSI);
    g_assert_cmpstr(d->disks[1].path, ==, "iscsi://10.0.0.9/iqn.2020-01.org.example:t1/1");
    g_assert_cmpstr(d->disks[1].id, ==, "disk1");
    g_assert_cmpstr(d->nics[0].mac, ==, "52:54:00:aa:bb:01");
    g_assert_cmpint(d->on_stop, ==, HV_ON_STOP_SHUTDOWN);
    g_assert_cmpint(d->convergence, ==, HV_CONVERGENCE_ABORT);
    g_assert_cmpuint(d->max_throttle_percent, ==, 0);
    g_assert_cmpuint(d->resources.memory_max_mib, ==, 4096);
}

static void test_round_trip(void)
{
    g_autoptr(HvDefinition) first = parse(full);
    g_autofree char *text = hv_definition_to_json(first);
    g_autoptr(HvDefinition) second = parse(text);
    g_autofree char *again = hv_definition_to_json(second);
    g_assert_cmpstr(text, ==, again);
    g_autofree char *digest = hv_definition_digest(first), *other = hv_definition_digest(second);
    g_assert_cmpstr(digest, ==, other);
    g_assert_cmpuint(strlen(digest), ==, 64);
    g_assert_null(strpbrk(text, "\n\t"));
}

// Nodes with an older vmferryd refuse keys that they do not know.
static void test_no_newer_key(void)
{
    g_autoptr(HvDefinition) d = test_definition(NULL, "");
    g_autofree char *text = hv_definition_to_json(d);
    g_assert_null(strstr(text, "guest_agent"));
}

static void test_derived_mac(void)
{
    g_autoptr(HvDefinition) d =
        test_definition(NULL, ",\"nics\":[{\"bridge\":\"a\"},{\"bridge\":\"a\"}]");
    g_autofree char *mac = hv_definition_derived_mac(d->uuid, 0);
    g_assert_cmpstr(d->nics[0].mac, ==, mac);
    g_assert_true(g_str_has_prefix(mac, "52:54:00:"));
    g_assert_cmpstr(d->nics[0].mac, !=, d->nics[1].mac);
}

static void test_reference(void)
{
    HvDefinition *first = test_definition(NULL, "");
    HvDefinition *second = hv_definition_ref(first);
    hv_definition_unref(first);
    g_assert_cmpstr(second->name, ==, "web1");
    hv_definition_unref(second);
    hv_definition_unref(NULL);
}

static void test_pending(void)
{
    g_autoptr(HvDefinition) now = test_definition("/a", "");
    g_autoptr(HvDefinition) live =
        test_definition("/a", ",\"on_stop\":\"poweroff\",\"max_blackout_ms\":5,"
                              "\"convergence\":\"abort\",\"max_throttle_percent\":20");
    g_autoptr(HvDefinition) next =
        test_definition("/b", ",\"vcpus\":2,\"guest_agent\":true,\"boot\":{\"kernel\":\"/k\"}");
    g_autofree char *none = hv_definition_pending(now, live);
    g_autofree char *keys = hv_definition_pending(now, next);
    g_assert_null(none);
    g_assert_cmpstr(keys, ==, "vcpus; boot; disks; guest_agent");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/definition/defaults", test_defaults);
    g_test_add_func("/definition/everything", test_everything);
    g_test_add_func("/definition/round-trip", test_round_trip);
    g_test_add_func("/definition/no-newer-key", test_no_newer_key);
    g_test_add_func("/definition/derived-mac", test_derived_mac);
    g_test_add_func("/definition/reference", test_reference);
    g_test_add_func("/definition/pending", test_pending);
    return g_test_run();
}
