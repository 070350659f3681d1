// SPDX-License-Identifier: GPL-2.0-or-later
// LUNs that the node sees by itself, logical volumes, and shared directories.
#include "agent/storage.h"
#include "hvcore/storage_path.h"
#include "tests/agent/storage_fixture.h"

#include <string.h>

#define LV "{\"name\":\"data\",\"type\":\"lv\",\"vg\":\"vms\",\"lv\":\"web\""
#define UUID "LVM-aaaabbbbccccdddd"
#define KNOWN_LV LV ",\"wwid\":\"" UUID "\",\"size_mib\":64}"
#define LUN "{\"name\":\"data\",\"type\":\"lun\",\"wwid\":\"wwn-0x600a\",\"size_mib\":64}"

// lvs knows it; lvchange makes and removes its device.
static void add_lv(const Fixture *fixture, const char *layout, const char *lock, const char *owner)
{
    g_autofree char *lvs = g_strdup_printf(
        "echo '  WARNING: lvmlockd process is not running.' >&2\n"
        "echo '  {\"report\":[{\"lv\":[{\"vg_uuid\":\"aaaa-bbbb\",\"lv_uuid\":\"cccc-dddd\","
        "\"lv_layout\":\"%s\",\"vg_lock_type\":\"%s\",\"vg_systemid\":\"%s\"}]}]}'\n",
        layout, lock, owner);
    fixture_program(fixture, "lvs", lvs);
    fixture_program(fixture, "lvm", "echo '  system ID: n1'");
    fixture_program(fixture, "lvchange",
                    "case $2 in n) [ -e \"$root/in-use\" ] && { echo in use; exit 5; }\n"
                    "  rm -rf \"$root/sys/block/dm-1\";;\n"
                    "*) mkdir -p \"$root/sys/block/dm-1/dm\" \"$root/dev/disk/by-id\"\n"
                    "  echo " UUID " >\"$root/sys/block/dm-1/dm/uuid\"\n"
                    "  echo 131072 >\"$root/sys/block/dm-1/size\"; : >\"$root/dev/dm-1\"\n"
                    "  ln -sfn ../../dm-1 \"$root/dev/disk/by-id/dm-uuid-" UUID "\";; esac");
}

static void test_lv(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    add_lv(fixture, "linear", "", "");
    g_autoptr(HvDefinition) fresh = fixture_definition(LV "}");
    g_autoptr(HvDefinition) known = storage_identify(fresh, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(known->storage[0].wwid, ==, UUID);
    g_assert_cmpuint(known->storage[0].size_mib, ==, 64);
    g_assert_true(storage_make_available(known, true, &error));
    g_assert_no_error(error);
    g_autofree char *device = fixture_device_of_link();
    g_assert_cmpstr(device, ==, "dm-1");
    g_assert_cmpuint(fixture_count(fixture, "lvchange --activate y vms/web"), ==, 2);
    g_assert_true(storage_give_back("web", known, &error));
    g_assert_no_error(error);
    g_assert_false(fixture_has(fixture, "sys/block/dm-1"));
}

static void test_locked_lv(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    add_lv(fixture, "striped", "dlm", "");
    g_assert_true(fixture_available(KNOWN_LV, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(fixture_count(fixture, "lvchange --activate sy vms/web"), ==, 1);
}

static void test_lv_that_stays(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = fixture_definition(KNOWN_LV);
    add_lv(fixture, "linear", "", "");
    fixture_write(fixture, "in-use", "");
    g_test_expect_message("vmferry", G_LOG_LEVEL_MESSAGE, "*stays active*in use*");
    g_assert_true(storage_give_back("web", definition, &error)); // no reason to fence the node
    g_assert_no_error(error);
    g_test_assert_expected_messages();
}

static void test_lvs_that_are_refused(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    add_lv(fixture, "linear", "", "n2");
    fixture_assert_refused(KNOWN_LV, "belongs to the node with the system ID \"n2\"");
    add_lv(fixture, "linear", "", "n1"); // this node's own
    g_autoptr(GError) error = NULL;
    g_assert_true(fixture_available(KNOWN_LV, &error));
    g_assert_no_error(error);
    add_lv(fixture, "thin,sparse", "", "");
    fixture_assert_refused(KNOWN_LV, "it has to be linear or striped");
    add_lv(fixture, "linear", "", "");
    fixture_assert_refused(LV ",\"wwid\":\"LVM-other\",\"size_mib\":64}", "it is another LUN");
    fixture_program(fixture, "lvs", "echo 'Failed to find logical volume'; exit 5");
    fixture_assert_refused(KNOWN_LV,
                           "this node has no logical volume vms/web: are its LUNs there (`pvs`)?");
}

static void add_lun(const Fixture *fixture, const char *disk, const char *wwid, const char *sectors)
{
    g_autofree char *name = g_build_filename("sys/block", disk, "device/wwid", NULL);
    g_autofree char *state = g_build_filename("sys/block", disk, "device/state", NULL);
    g_autofree char *size = g_build_filename("sys/block", disk, "size", NULL);
    g_autofree char *holder = g_build_filename("sys/block", disk, "holders/none", NULL);
    g_autofree char *node = g_build_filename("dev", disk, NULL);
    fixture_write(fixture, name, wwid);
    fixture_write(fixture, state, "running\n");
    fixture_write(fixture, size, sectors);
    fixture_write(fixture, holder, "");
    fixture_write(fixture, node, "");
}

static void link_lun(const Fixture *fixture, const char *name, const char *disk)
{
    g_autofree char *make = g_strdup_printf("mkdir -p %s/dev/disk/by-id && ln -sfn ../../%s "
                                            "%s/dev/disk/by-id/%s",
                                            fixture->root, disk, fixture->root, name);
    g_assert_cmpint(system(make), ==, 0);
}

static void test_lun(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    fixture_assert_refused(LUN, "this node sees no LUN 3600a; is it mapped to this node's ports?");
    add_lun(fixture, "sdb", "naa.600b\n", "131072\n");
    add_lun(fixture, "sdc", "naa.600a\n", "131072\n");
    fixture_assert_refused(LUN, "udev has no link to it by its identity (3600a)");
    link_lun(fixture, "scsi-3600a", "sdb"); // udev is late: it leads to what had the name before
    fixture_assert_refused(LUN, "udev has no link");
    link_lun(fixture, "wwn-0x600a", "sdc");
    g_assert_true(fixture_available(LUN, &error));
    g_assert_no_error(error);
    g_autofree char *device = fixture_device_of_link();
    g_assert_cmpstr(device, ==, "sdc");
    g_autofree char *rescanned = fixture_read(fixture, "sys/block/sdc/device/rescan");
    g_assert_null(rescanned); // the kernel makes that file; none is made here
}

static void test_resize(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    add_lun(fixture, "sdc", "naa.600a\n", "262144\n");
    add_lun(fixture, "sdd", "naa.600a\n", "262144\n");
    fixture_write(fixture, "sys/block/sdc/device/rescan", "");
    fixture_write(fixture, "sys/block/sdd/device/rescan", "");
    fixture_write(fixture, "sys/block/sdd/device/state", "offline\n");
    fixture_write(fixture, "sys/block/dm-0/dm/uuid", "mpath-3600a\n");
    fixture_write(fixture, "sys/block/dm-0/dm/name", "mpatha\n");
    fixture_write(fixture, "sys/block/dm-0/size", "131072\n");
    fixture_write(fixture, "dev/dm-0", "");
    link_lun(fixture, "dm-uuid-mpath-3600a", "dm-0");
    g_assert_true(fixture_available(LUN, &error));
    g_assert_no_error(error);
    g_autofree char *up = fixture_read(fixture, "sys/block/sdc/device/rescan");
    g_autofree char *down = fixture_read(fixture, "sys/block/sdd/device/rescan");
    g_assert_cmpstr(up, ==, "1");
    g_assert_cmpstr(down, ==, ""); // it would only hang
    g_assert_cmpuint(fixture_count(fixture, "multipathd resize map mpatha"), ==, 1);
}

static void test_directory(Fixture *fixture, gconstpointer unused)
{
    (void)fixture;
    (void)unused;
    g_autoptr(GError) error = NULL;
    fixture_assert_refused("{\"name\":\"n\",\"type\":\"directory\",\"path\":\"/nowhere\"}",
                           "storage \"n\": nothing is mounted at /nowhere on this node");
    fixture_assert_refused(
        "{\"name\":\"n\",\"type\":\"directory\",\"path\":\"/proc\",\"source\":\"nas:/vm\"}",
        "mounted, not nas:/vm");
    g_assert_true(
        fixture_available("{\"name\":\"n\",\"type\":\"directory\",\"path\":\"/proc\"}", &error));
    g_assert_no_error(error);
}

#define ADD(name, function)                                                                        \
    g_test_add("/storage/" name, Fixture, NULL, fixture_set_up, function, fixture_tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("lv", test_lv);
    ADD("lv-with-lvmlockd", test_locked_lv);
    ADD("lv-that-stays", test_lv_that_stays);
    ADD("lvs-that-are-refused", test_lvs_that_are_refused);
    ADD("lun", test_lun);
    ADD("resize", test_resize);
    ADD("directory", test_directory);
    return g_test_run();
}
