// SPDX-License-Identifier: GPL-2.0-or-later
// What a node finds out of itself: files below a root of the test's, and tools that say what the
// real ones do (multipath-tools 0.9.4, sbd 1.5, Pacemaker 2.1).
#include "agent/doctor_look.h"
#include "migrate/area.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define UUID "3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60"
#define DUMP                                                                                       \
    "==Dumping header on disk /dev/l\nTimeout (watchdog) : 20\nTimeout (allocate) : 2\n"           \
    "Timeout (loop)     : 1\nTimeout (msgwait)  : 40\n"
#define MAPS                                                                                       \
    "{\"major_version\":0,\"maps\":[{\"name\":\"lun\",\"queueing\":\"on\",\"path_groups\":["       \
    "{\"paths\":[{\"dm_st\":\"active\",\"chk_st\":\"ready\"},"                                     \
    "{\"dm_st\":\"active\",\"chk_st\":\"ghost\"}]},"                                               \
    "{\"paths\":[{\"dm_st\":\"failed\",\"chk_st\":\"faulty\"}]}]}]}"

static char *root, *bin;

static void put(const char *path, const char *text, int mode)
{
    g_autofree char *full = g_strconcat(root, path, NULL);
    g_autofree char *directory = g_path_get_dirname(full);
    g_assert_no_errno(g_mkdir_with_parents(directory, 0700));
    g_assert_true(
        g_file_set_contents_full(full, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, mode, NULL));
}

static void tool(const char *name, const char *script)
{
    g_autofree char *path = g_strconcat("/bin/", name, NULL);
    g_autofree char *text = g_strconcat("#!/bin/sh\n", script, "\n", NULL);
    put(path, text, 0700);
}

// RESULT's text is EXPECTED's, whose ' stand for ".
static void expect(json_t *result, const char *expected)
{
    g_autofree char *quoted = g_strdelimit(g_strdup(expected), "'", '"');
    json_t *wanted = json_loads(quoted, 0, NULL);
    g_autofree char *text = json_dumps(result, JSON_SORT_KEYS);
    g_test_message("%s", text);
    g_assert_nonnull(wanted);
    g_assert_true(json_equal(result, wanted));
    json_decref(wanted);
    json_decref(result);
}

static void expect_problem(json_t *result, const char *words)
{
    const char *problem = json_string_value(json_object_get(result, "problem"));
    g_assert_nonnull(problem);
    g_assert_nonnull(strstr(problem, words));
    json_decref(result);
}

static void test_iscsi(void)
{
    expect(doctor_look_iscsi(NULL), "{'sessions':[]}");
    put("/sys/class/iscsi_session/session1/targetname", "iqn.x:t\n", 0600);
    put("/sys/class/iscsi_session/session1/state", "LOGGED_IN\n", 0600);
    put("/sys/class/iscsi_session/session1/recovery_tmo", "120\n", 0600);
    expect(doctor_look_iscsi(NULL),
           "{'sessions':[{'target':'iqn.x:t','state':'LOGGED_IN','recovery_tmo':120}]}");
    put("/sys/class/iscsi_session/session1/recovery_tmo", "off\n", 0600);
    expect(doctor_look_iscsi(NULL),
           "{'sessions':[{'target':'iqn.x:t','state':'LOGGED_IN','recovery_tmo':-1}]}");
}

static void test_multipath(void)
{
    tool("multipathd", "exit 1");
    expect(doctor_look_multipath(NULL), "{'maps':[]}"); // no map: nobody is asked
    put("/sys/block/dm-0/dm/uuid", "mpath-3600a\n", 0600);
    expect_problem(doctor_look_multipath(NULL), "exit code 1");
    tool("multipathd", "case $2 in maps) cat <<'E'\n" MAPS "\nE\n;; config) printf "
                       "'defaults {\\n\\treservation_key \"file\"\\n}\\n';; esac");
    expect(doctor_look_multipath(NULL),
           "{'maps':[{'name':'lun','queueing':'on','paths':3,'down':1}],'reservation_key':true}");
    tool("multipathd", "case $2 in maps) echo '{\"maps\":[]}';; config) echo 'defaults {';; esac");
    expect(doctor_look_multipath(NULL), "{'maps':[],'reservation_key':false}");
    tool("multipathd", "echo nonsense");
    expect_problem(doctor_look_multipath(NULL), "no JSON");
}

static void test_sbd(void)
{
    expect(doctor_look_sbd(NULL), "{'running':false}");
    put("/proc/17/comm", "sbd\n", 0600);
    expect_problem(doctor_look_sbd(NULL), "/etc/default/sbd");
    put("/etc/default/sbd", "# SBD_DEVICE=/dev/old\nSBD_DEVICE=\"\"\nSBD_WATCHDOG_TIMEOUT=7\n",
        0600);
    expect(doctor_look_sbd(NULL),
           "{'running':true,'device':null,'watchdog_device':'/dev/watchdog','watchdog':false,"
           "'watchdog_identity':null,'watchdog_timeout_s':7}");
    put("/dev/w", "", 0600);
    put("/sys/class/watchdog/watchdog0/identity", "iTCO_wdt\n", 0600);
    put("/etc/default/sbd", "SBD_DEVICE='/dev/l;/dev/m'\nSBD_WATCHDOG_DEV=/dev/w\n", 0600);
    tool("sbd", "test \"$1 $2 $3\" = '-d /dev/l dump' && cat <<'E'\n" DUMP "E");
    json_t *found = doctor_look_sbd(NULL);
    g_assert_true(json_is_true(json_object_get(found, "watchdog")));
    g_assert_cmpint(json_integer_value(json_object_get(found, "lun_watchdog_s")), ==, 20);
    g_assert_cmpint(json_integer_value(json_object_get(found, "lun_msgwait_s")), ==, 40);
    g_assert_cmpint(json_integer_value(json_object_get(found, "watchdog_timeout_s")), ==, 5);
    json_decref(found);
}

static void test_fencing(void)
{
    char *nodes[] = {"n1", "n2", "n3", NULL};
    DoctorLook look = {.nodes = nodes};
    tool("stonith_admin", "test \"$1\" = --list || exit 9\n"
                          "case $2 in n1) printf 'power\\nscsi\\n2 fence devices found\\n';;\n"
                          "n2) echo '0 fence devices found';; *) exit 102;; esac");
    expect(doctor_look_fencing(&look), "{'reached':{'n1':['power','scsi'],'n2':[],'n3':null}}");
}

static void test_crm_verify(void)
{
    tool("crm_verify", "exit 0");
    expect(doctor_look_crm_verify(NULL), "{'output':''}");
    tool("crm_verify", "echo 'error: bad' >&2; exit 78");
    expect(doctor_look_crm_verify(NULL), "{'output':'error: bad'}");
    tool("crm_verify", "echo 'not connected' >&2; exit 102");
    expect_problem(doctor_look_crm_verify(NULL), "not connected");
}

static void test_tool(void)
{
    static const char *const hangs[] = {"hangs", NULL}, *const none[] = {"no-such-tool", NULL};
    g_autoptr(GError) error = NULL;
    g_autofree char *output = NULL;
    int status;
    tool("hangs", "exec sleep 60");
    g_assert_false(doctor_tool(hangs, 1, &output, &status, &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_TIMEOUT);
    g_clear_error(&error);
    g_assert_false(doctor_tool(none, 1, &output, &status, &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_START);
    g_assert_null(output);
}

static void expect_wwid(const char *expected)
{
    g_autofree char *found = doctor_wwid(makedev(8, 1));
    g_assert_cmpstr(found, ==, expected);
}

// A LUN has one name, whether a node sees it by a path or by a map of paths.
static void test_wwid(void)
{
    expect_wwid(NULL);
    put("/sys/dev/block/8:1/device/wwid", "naa.600a\n", 0600);
    expect_wwid("3600a");
    put("/sys/dev/block/8:1/dm/uuid", "mpath-3600a\n", 0600);
    expect_wwid("3600a");
    put("/sys/dev/block/8:1/dm/uuid", "LVM-abc\n", 0600);
    expect_wwid("LVM-abc");
    put("/sys/dev/block/8:1/partition", "2\n", 0600);
    put("/sys/dev/block/device/wwid", "eui.0025\n", 0600); // of the disk that it is a part of
    expect_wwid("20025-part2");
}

static void test_vm(void)
{
    g_autofree char *area = g_build_filename(root, "area", NULL);
    g_autofree char *text = g_strdup_printf("{\"name\":\"web\",\"uuid\":\"" UUID
                                            "\",\"memory_mib\":64,\"machine\":\"pc-q35-7.2\","
                                            "\"state_area\":\"%s\",\"disks\":[{\"type\":\"file\","
                                            "\"path\":\"%s/disk\",\"format\":\"raw\"}]}",
                                            area, root);
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = hv_definition_parse(text, &error);
    DoctorLook look = {.definition = definition, .pid = 17};
    g_assert_no_error(error);
    g_assert_true(ferry_area_prepare(area, UUID, "web", 64, &error));
    put("/disk", "0123456789abcdef", 0600);

    json_t *found = doctor_look_vm(&look);
    json_t *files = json_object_get(found, "files");
    g_assert_cmpuint(json_array_size(files), ==, 2);
    g_assert_nonnull(json_object_get(json_array_get(files, 0), "class"));
    g_assert_cmpint(json_integer_value(json_object_get(json_array_get(files, 1), "inode")), >, 0);
    g_assert_cmpstr(json_string_value(json_object_get(found, "record")), ==, "empty");
    g_assert_null(json_object_get(found, "area_problem"));
    g_assert_null(json_object_get(found, "unsafe_cache"));
    json_decref(found);

    g_assert_no_errno(truncate(area, 1 << 20));
    g_autofree char *disk = g_build_filename(root, "disk", NULL);
    g_assert_no_errno(g_unlink(disk));
    put("/proc/17/cmdline", "qemu -drive file=x,cache=unsafe", 0600);
    found = doctor_look_vm(&look);
    g_assert_nonnull(strstr(json_string_value(json_object_get(found, "area_problem")), area));
    g_assert_nonnull(strstr(json_string_value(json_object_get(found, "cannot_run")), disk));
    g_assert_cmpstr(json_string_value(json_object_get(found, "unsafe_cache")), ==, "cache=unsafe");
    json_decref(found);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    root = g_dir_make_tmp("vmferry-doctor-XXXXXX", NULL);
    bin = g_build_filename(root, "bin", NULL);
    g_autofree char *path = g_strconcat(bin, ":", g_getenv("PATH"), NULL);
    g_assert_true(g_setenv("PATH", path, TRUE));
    doctor_root = root;
    g_test_add_func("/doctor_look/iscsi", test_iscsi);
    g_test_add_func("/doctor_look/multipath", test_multipath);
    g_test_add_func("/doctor_look/sbd", test_sbd);
    g_test_add_func("/doctor_look/fencing", test_fencing);
    g_test_add_func("/doctor_look/crm_verify", test_crm_verify);
    g_test_add_func("/doctor_look/tool", test_tool);
    g_test_add_func("/doctor_look/wwid", test_wwid);
    g_test_add_func("/doctor_look/vm", test_vm);
    int failed = g_test_run();
    const char *const remove[] = {"rm", "-r", root, NULL};
    g_spawn_sync(NULL, (char **)remove, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL,
                 NULL);
    g_free(bin);
    g_free(root);
    return failed;
}
