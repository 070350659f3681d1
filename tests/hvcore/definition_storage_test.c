// SPDX-License-Identifier: GPL-2.0-or-later
// The storage of a definition: what is accepted, where it lies, what is refused and why.
#include "hvcore/wwid.h"
#include "tests/hvcore/support.h"

#include <string.h>

#define ISCSI(rest)                                                                                \
    "{\"name\":\"d\",\"type\":\"iscsi\",\"portals\":[\"10.0.0.9\",\"[fd00::9]:3261\"],"            \
    "\"target\":\"iqn.2026-01.x:t\",\"lun\":1" rest "}"
#define LUN(name, wwid) "{\"name\":\"" name "\",\"type\":\"lun\",\"wwid\":\"" wwid "\"}"
#define LV(name, lv) "{\"name\":\"" name "\",\"type\":\"lv\",\"vg\":\"v\",\"lv\":\"" lv "\"}"
#define NFS(rest) "{\"name\":\"n\",\"type\":\"directory\",\"path\":\"/srv/vm\"" rest "}"
#define FS(rest) "{\"name\":\"fs\",\"type\":\"filesystem\",\"on\":\"d\",\"fstype\":\"xfs\"" rest "}"
#define STORAGE(entries) ",\"storage\":[" entries "]"
#define DISK(text) ",\"disks\":[{" text "}]"

typedef struct {
    const char *extra, *prefix, *part;
} Case;

static const Case cases[] = {
    {",\"storage\":{}", "storage: ", "array"},
    {STORAGE("{\"type\":\"lun\"}"), "storage[0].name: ", "missing"},
    {STORAGE("{\"name\":\"d\",\"type\":\"nfs\"}"),
     "storage[0].type: ", "iscsi, lun, lv, directory, filesystem"},
    {STORAGE(LUN("d/..", "3600")), "storage[0].name: ", "begin with a letter"},
    {STORAGE("{\"name\":\"d\",\"type\":\"lun\"}"), "storage[0].wwid: ", "missing"},
    {STORAGE(LUN("d", "scsi-")), "storage[0].wwid: ", "prefix"},
    {STORAGE(LUN("d", "/dev/sdb")), "storage[0].wwid: ", "by-id"},
    {STORAGE(LUN("d", "3600") "," LUN("d", "3601")), "storage[1].name: ", "another storage \"d\""},
    {STORAGE(LUN("d", "3600ab") "," LUN("e", "wwn-0x600AB")),
     "storage[1]: ", "same device as storage \"d\""},
    {STORAGE(LV("d", "a") "," LV("e", "a")), "storage[1]: ", "same device"},
    {STORAGE("{\"name\":\"d\",\"type\":\"iscsi\",\"target\":\"iqn.x:t\",\"lun\":1}"),
     "storage[0].portals: ", "missing"},
    {STORAGE(ISCSI(",\"vg\":\"v\"")), "storage[0].vg: ", "not for type"},
    {STORAGE(ISCSI(",\"chap_user\":\"u\"")), "storage[0].chap_secret_file: ", "go together"},
    {STORAGE(ISCSI(",\"chap_secret_file\":\"/s\"")), "storage[0].chap_user: ", "go together"},
    {STORAGE(ISCSI(",\"chap_user\":\"u\",\"chap_secret_file\":\"a secret\"")),
     "storage[0].chap_secret_file: ", "does not belong here"},
    {STORAGE(ISCSI(",\"size_mib\":0")), "storage[0].size_mib: ", "MiB"},
    {STORAGE("{\"name\":\"d\",\"type\":\"iscsi\",\"portals\":[\"10.0.0.9\",\"10.0.0.9:3260\"],"
             "\"target\":\"iqn.x:t\",\"lun\":1}"),
     "storage[0].portals[1]: ", "twice"},
    {STORAGE("{\"name\":\"d\",\"type\":\"iscsi\",\"portals\":[\"::1\"],\"target\":\"iqn.x:t\","
             "\"lun\":1}"),
     "storage[0].portals[0]: ", "brackets"},
    {STORAGE("{\"name\":\"d\",\"type\":\"iscsi\",\"portals\":[],\"target\":\"iqn.x:t\",\"lun\":1}"),
     "storage[0].portals: ", "1 to 8"},
    {STORAGE(
         "{\"name\":\"d\",\"type\":\"iscsi\",\"portals\":[\"h\"],\"target\":\"disk 1\",\"lun\":1}"),
     "storage[0].target: ", "iqn."},
    {STORAGE(LV("d", "a/b")), "storage[0].lv: ", "LVM"},
    {STORAGE("{\"name\":\"n\",\"type\":\"directory\",\"path\":\"srv\"}"),
     "storage[0].path: ", "absolute"},
    {STORAGE("{\"name\":\"n\",\"type\":\"directory\",\"path\":\"/a/../b\"}"),
     "storage[0].path: ", "\"..\""},
    {STORAGE(NFS("") "," FS("")), "storage[1].on: ", "not a storage of type iscsi"},
    {STORAGE(LUN("d", "3600") "," FS(",\"size_mib\":5")), "storage[1].size_mib: ", "not for type"},
    {STORAGE(LUN("d", "3600") "," FS("")) DISK("\"type\":\"block\",\"storage\":\"d\""),
     "storage[1].on: ", "also a disk"},
    {STORAGE(LUN("d", "3600") "," FS("")) DISK("\"type\":\"block\",\"storage\":\"fs\""),
     "disks[0].type: ", "takes \"file\""},
    {STORAGE(LUN("d", "3600")) DISK("\"type\":\"file\",\"storage\":\"d\",\"path\":\"x\""),
     "disks[0].type: ", "takes \"block\""},
    {STORAGE(LUN("d", "3600")) DISK("\"type\":\"block\",\"storage\":\"d\",\"path\":\"x\""),
     "disks[0].path: ", "taken whole"},
    {STORAGE(NFS("")) DISK("\"type\":\"file\",\"storage\":\"n\",\"path\":\"../x\""),
     "disks[0].path: ", "no \"..\""},
    {STORAGE(NFS("")) DISK("\"type\":\"file\",\"storage\":\"n\",\"path\":\"/x\""),
     "disks[0].path: ", "not a file within"},
    {STORAGE(NFS("")) DISK("\"type\":\"file\",\"storage\":\"n\""), "disks[0].path: ", "missing"},
};

static void test_case(gconstpointer data)
{
    const Case *c = data;
    g_autofree char *text = test_definition_text(NULL, c->extra);
    test_refused(text, c->prefix, c->part);
}

static char *with_area(const char *area, const char *extra)
{
    return g_strdup_printf("{\"name\":\"web1\",\"uuid\":\"3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60\","
                           "\"memory_mib\":64,\"machine\":\"pc-q35-7.2\",\"state_area\":%s%s}",
                           area, extra);
}

static HvDefinition *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    HvDefinition *definition = hv_definition_parse(text, &error);
    g_assert_no_error(error);
    return definition;
}

static void test_state_area(void)
{
    g_autofree char *exclusive = with_area("{\"storage\":\"fs\",\"path\":\"web1.vmf\"}",
                                           STORAGE(LUN("d", "3600") "," FS("")));
    test_refused(exclusive, "state_area.storage: ", "every node has to read the run record");
    g_autofree char *twice =
        with_area("{\"storage\":\"d\"}",
                  STORAGE(LUN("d", "3600")) DISK("\"type\":\"block\",\"storage\":\"d\""));
    test_refused(twice, "state_area: ", "overwrite the disk");
    g_autofree char *lun = with_area("{\"storage\":\"d\"}", STORAGE(LUN("d", "3600")));
    g_autoptr(HvDefinition) on_lun = parse(lun);
    g_assert_cmpstr(on_lun->state_area, ==, "/run/vmferry/web1/storage-d");
    g_autofree char *nfs =
        with_area("{\"storage\":\"n\",\"path\":\"a/web1.vmf\"}", STORAGE(NFS("")));
    g_autoptr(HvDefinition) on_nfs = parse(nfs);
    g_assert_cmpstr(on_nfs->state_area, ==, "/srv/vm/a/web1.vmf");
}

static const char everything[] =
    STORAGE(ISCSI(",\"chap_user\":\"u\",\"chap_secret_file\":\"/etc/vmferry/"
                  "chap\",\"size_mib\":100") "," FS(",\"options\":\"noatime\"") "," LUN(
        "l",
        "naa.600AB") "," LV("v",
                            "web-1") "," NFS(",\"source\":\"nas:/vm\"")) ",\"disks\":[{\"type\":"
                                                                         "\"file\",\"storage\":"
                                                                         "\"fs\",\"path\":"
                                                                         "\"web.img\"},{\"type\":"
                                                                         "\"block\",\"storage\":"
                                                                         "\"l\"}]";

static void test_paths(void)
{
    g_autoptr(HvDefinition) d = test_definition(NULL, everything);
    g_assert_cmpuint(d->n_storage, ==, 5);
    g_assert_cmpstr(d->storage[0].portals[0], ==, "10.0.0.9:3260");
    g_assert_cmpstr(d->storage[0].portals[1], ==, "[fd00::9]:3261");
    g_assert_cmpuint(d->storage[0].size_mib, ==, 100);
    g_assert_cmpstr(d->storage[1].path, ==, "/run/vmferry/web1/fs-fs");
    g_assert_cmpstr(d->disks[0].path, ==, "/run/vmferry/web1/fs-fs/web.img");
    g_assert_cmpstr(d->disks[1].path, ==, "/run/vmferry/web1/storage-l");
    g_assert_cmpint(d->disks[1].type, ==, HV_DISK_BLOCK);
    g_assert_cmpstr(d->storage[2].wwid, ==, "3600ab");
    g_assert_true(hv_definition_is_exclusive(d));
    g_assert_true(hv_definition_storage(d, "v") == &d->storage[3]);
    g_assert_null(hv_definition_storage(d, "x"));
}

// What nodes compare does not depend on where they keep their links.
static void test_round_trip(void)
{
    g_autoptr(HvDefinition) d = test_definition(NULL, everything);
    g_autofree char *json = hv_definition_to_json(d);
    g_autoptr(HvDefinition) again = parse(json);
    g_autofree char *same = hv_definition_to_json(again);
    g_assert_cmpstr(json, ==, same);
    g_assert_null(strstr(json, "/run/vmferry"));
    g_assert_null(hv_definition_pending(d, again));
}

static void test_identify(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) d = test_definition(NULL, STORAGE(ISCSI("") "," NFS("")));
    g_assert_null(d->storage[0].wwid);
    g_assert_false(hv_definition_is_exclusive(d));
    g_autoptr(HvDefinition) known = hv_definition_identify(d, "d", "3600", 64, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(known->storage[0].wwid, ==, "3600");
    g_assert_cmpuint(known->storage[0].size_mib, ==, 64);
    g_assert_null(known->storage[1].wwid);
    g_autofree char *pending = hv_definition_pending(d, known);
    g_assert_cmpstr(pending, ==, "storage");
}

static void test_no_storage_is_not_written(void)
{
    g_autoptr(HvDefinition) d = test_definition("/d", "");
    g_autofree char *json = hv_definition_to_json(d);
    g_assert_null(strstr(json, "storage"));
}

static void test_wwid(void)
{
    static const char *const pairs[][2] = {
        {"3600140539B1", "3600140539b1"},
        {"wwn-0x600140539b1", "3600140539b1"},
        {"naa.600140539b1", "3600140539b1"},
        {"0x5000c500", "35000c500"},
        {"scsi-3600140539b1", "3600140539b1"},
        {"mpath-3600140539b1", "3600140539b1"},
        {"dm-uuid-mpath-3600140539b1", "3600140539b1"},
        {"eui.0025385B", "20025385b"},
        {"t10.IET     00010001  ", "1IET_00010001"},
        {"1IET_00010001", "1IET_00010001"},
        {"LVM-abcDEF", "LVM-abcDEF"},
        {"wwn-0x", "wwn-0x"},
        {"scsi-scsi-00A", "00a"},
        {"t10.AB", "1ab"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *found = hv_wwid_normalize(pairs[i][0]);
        g_autofree char *again = hv_wwid_normalize(found);
        g_assert_cmpstr(found, ==, pairs[i][1]);
        g_assert_cmpstr(again, ==, found);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/definition-storage/refused/%zu", i);
        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/definition-storage/state-area", test_state_area);
    g_test_add_func("/definition-storage/paths", test_paths);
    g_test_add_func("/definition-storage/round-trip", test_round_trip);
    g_test_add_func("/definition-storage/identify", test_identify);
    g_test_add_func("/definition-storage/none", test_no_storage_is_not_written);
    g_test_add_func("/definition-storage/wwid", test_wwid);
    return g_test_run();
}
