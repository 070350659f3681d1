// SPDX-License-Identifier: GPL-2.0-or-later
// LUNs through open-iscsi: logged in where they are needed, told from others, and nothing is left
// behind of what failed.
#include "agent/storage.h"
#include "agent/storage_iscsi.h"
#include "agent/storage_tool.h"
#include "hvcore/storage_path.h"
#include "tests/agent/storage_fixture.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ONE(rest)                                                                                  \
    "{\"name\":\"data\",\"type\":\"iscsi\",\"portals\":[\"10.0.0.9\"],\"target\":\"iqn.2026-01.x:" \
    "t\",\"lun\":1" rest "}"
#define TWO(rest)                                                                                  \
    "{\"name\":\"data\",\"type\":\"iscsi\",\"portals\":[\"10.0.0.9\",\"10.1.0.9\"],\"target\":"    \
    "\"iqn."                                                                                       \
    "2026-01.x:t\",\"lun\":1" rest "}"
#define KNOWN ",\"wwid\":\"3600a\",\"size_mib\":64"
#define RECORD "etc/iscsi/nodes/iqn.2026-01.x:t/10.0.0.9,3260"
#define SESSION "sys/class/iscsi_session/session1"
#define CHAP ",\"chap_user\":\"vm\",\"chap_secret_file\":\"/etc/secret\""
#define SECRET "not-for-anybody-1"

static void assert_available(const char *storage)
{
    g_autoptr(GError) error = NULL;
    (void)fixture_available(storage, &error);
    g_assert_no_error(error);
}

static void assert_untouched(const Fixture *fixture)
{
    g_autofree char *link = hv_storage_link("web", "data");
    g_assert_false(fixture_has(fixture, SESSION));
    g_assert_false(fixture_has(fixture, RECORD));
    g_assert_false(g_file_test(link, G_FILE_TEST_IS_SYMLINK));
}

static void test_one_path(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    assert_available(ONE(KNOWN));
    g_autofree char *device = fixture_device_of_link();
    g_assert_cmpstr(device, ==, "sda");
    g_autofree char *record = fixture_read(fixture, RECORD);
    g_assert_nonnull(strstr(record, "node.startup = manual\n"));
    g_assert_nonnull(strstr(record, "node.session.initial_login_retry_max = 1\n"));
    g_assert_null(strstr(record, "retry_max = 8"));
    g_assert_true(g_str_has_suffix(record, "# END RECORD\n"));
    assert_available(ONE(KNOWN)); // it has its session already
    g_assert_cmpuint(fixture_count(fixture, "--login"), ==, 1);
    g_assert_cmpuint(fixture_count(fixture, "-o new"), ==, 1);
}

static void test_two_paths(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    fixture_lun(fixture, "10.1.0.9:3260", 2, "sdb", "naa.600a", 64);
    assert_available(TWO(KNOWN));
    g_autofree char *device = fixture_device_of_link();
    g_assert_cmpstr(device, ==, "dm-0");
}

static void test_no_multipath_device(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture_write(fixture, "no-map", "");
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    fixture_lun(fixture, "10.1.0.9:3260", 2, "sdb", "naa.600a", 64);
    fixture_assert_refused(TWO(KNOWN), "install multipath-tools");
    assert_untouched(fixture);
}

static void test_one_of_two_portals(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture_lun(fixture, "10.1.0.9:3260", 2, "sdb", "naa.600a", 64);
    g_test_expect_message("vmferry", G_LOG_LEVEL_WARNING, "*fewer paths*10.0.0.9:3260*");
    assert_available(TWO(KNOWN));
    g_test_assert_expected_messages();
    g_assert_false(fixture_has(fixture, RECORD));
    g_autofree char *device = fixture_device_of_link();
    g_assert_cmpstr(device, ==, "sdb");
}

static void test_paths_to_different_luns(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    fixture_lun(fixture, "10.1.0.9:3260", 2, "sdb", "naa.600b", 64);
    fixture_assert_refused(TWO(KNOWN), "lead to different LUNs: sda is 3600a, sdb is 3600b");
    assert_untouched(fixture);
}

// The kernel has the disk already, and does not know yet which it is.
static void test_identity_comes_late(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    storage_patience_ms = 60 * 1000;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    fixture_lun(fixture, "10.1.0.9:3260", 2, "sdb", "naa.600a", 64);
    fixture_write(fixture, "late/sdb", "");
    assert_available(TWO(KNOWN));
    g_autofree char *device = fixture_device_of_link();
    g_assert_cmpstr(device, ==, "dm-0");
}

static void test_unreachable_portal(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture_assert_refused(
        ONE(KNOWN),
        "storage \"data\": iqn.2026-01.x:t: portal 10.0.0.9:3260: the portal does not answer in "
        "time; is its address right, and the storage network up on this node (`ping`)? "
        "(iscsiadm: 8)");
    assert_untouched(fixture);
}

static void test_another_lun(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600b", 64);
    fixture_assert_refused(
        ONE(KNOWN), "storage \"data\": sda is 3600b, but 3600a is recorded: it is another LUN. If "
                    "it was replaced on purpose, write the new wwid into the definition (`vmferry "
                    "define --update`)");
    assert_untouched(fixture);
}

static void test_too_small(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 63);
    fixture_assert_refused(
        ONE(KNOWN), "storage \"data\": sda (3600a) has 63 MiB, but 64 MiB are recorded (size_mib): "
                    "it is too small. Enlarge the LUN; a guest's disk must never shrink");
    assert_untouched(fixture);
}

static void test_never_recorded(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    fixture_assert_refused(ONE(""), "vmferry define --update");
    assert_untouched(fixture);
}

static void test_identify(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600A", 65);
    g_autoptr(HvDefinition) fresh = fixture_definition(ONE(""));
    g_autoptr(HvDefinition) known = storage_identify(fresh, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(known->storage[0].wwid, ==, "3600a");
    g_assert_cmpuint(known->storage[0].size_mib, ==, 65);
    // Another LUN took its place: the definition that does not say which one it is means the first.
    g_autoptr(HvDefinition) before = fixture_definition(ONE(KNOWN));
    g_autoptr(HvDefinition) kept = storage_identify(fresh, before, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(kept->storage[0].wwid, ==, "3600a");
    g_assert_cmpuint(kept->storage[0].size_mib, ==, 64);
}

// A path of this node that is down already is not logged in to again.
static void test_lost_session(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    assert_available(ONE(KNOWN));
    fixture_write(fixture, SESSION "/state", "FAILED\n");
    fixture_assert_refused(ONE(KNOWN), "its session has lost its connection");
    g_assert_cmpuint(fixture_count(fixture, "--login"), ==, 1);
    g_assert_true(fixture_has(fixture, SESSION)); // it was not this call's
}

static gpointer connect_again(gpointer data)
{
    g_usleep(300 * 1000);
    fixture_write(data, SESSION "/state", "LOGGED_IN\n");
    return NULL;
}

// By open-iscsi, as a VM is about to start that has no other node any more.
static void test_lost_session_comes_back(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    storage_patience_ms = 60 * 1000;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    assert_available(ONE(KNOWN));
    fixture_write(fixture, SESSION "/state", "FAILED\n");
    GThread *thread = g_thread_new("iscsid", connect_again, fixture);
    assert_available(ONE(KNOWN));
    g_thread_join(thread);
    g_assert_cmpuint(fixture_count(fixture, "--login"), ==, 1);
}

static void test_exit_codes(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    for (int status = 1; status <= 40; status++) {
        g_autofree char *code = g_strdup_printf("(iscsiadm: %d)", status);
        if (status == 15) // there is a session already: not an error
            continue;
        fixture_exit(fixture, "--login", status);
        fixture_assert_refused(ONE(KNOWN), storage_iscsi_problem(status));
        fixture_assert_refused(ONE(KNOWN), code);
        assert_untouched(fixture);
    }
    fixture_exit(fixture, "--login", 0);
    fixture_exit(fixture, "-o new", 6);
    fixture_assert_refused(ONE(KNOWN), "cannot use its records");
}

static void test_texts(void)
{
    for (int status = -1; status <= 34; status++) {
        const char *text = storage_iscsi_problem(status);
        g_assert_nonnull(text);
        for (int other = -1; other < status; other++) // each says its own
            g_assert_true(strcmp(text, storage_iscsi_problem(other)) != 0 ||
                          (status == 34 && other == -1));
    }
}

static void test_missing_program(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autofree char *program = g_build_filename(fixture->root, "bin/iscsiadm", NULL);
    g_assert_cmpint(unlink(program), ==, 0);
    fixture_assert_refused(ONE(KNOWN), "iscsiadm is missing on this node; install open-iscsi");
}

// --- CHAP ---

static void write_secret(const Fixture *fixture, const char *text, mode_t mode)
{
    g_autofree char *path = g_build_filename(fixture->root, "etc/secret", NULL);
    fixture_write(fixture, "etc/secret", text);
    g_assert_cmpint(chmod(path, mode), ==, 0);
}

static void test_chap(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    struct stat status;
    g_autofree char *path = g_build_filename(fixture->root, RECORD, NULL);
    if (geteuid() != 0) {
        g_test_skip("the file has to belong to root");
        return;
    }
    write_secret(fixture, SECRET "\n", 0600);
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    assert_available(ONE(KNOWN CHAP));
    g_autofree char *record = fixture_read(fixture, RECORD);
    g_assert_nonnull(strstr(record, "\nnode.session.auth.authmethod = CHAP\n"));
    g_assert_nonnull(strstr(record, "\nnode.session.auth.username = vm\n"));
    g_assert_nonnull(strstr(record, "\nnode.session.auth.password = " SECRET "\n"));
    g_assert_null(strstr(record, "authmethod = None"));
    g_assert_cmpint(stat(path, &status), ==, 0);
    g_assert_cmpuint(status.st_mode & 0777, ==, 0600);
    g_autofree char *log = fixture_log(fixture);
    g_assert_null(strstr(log, SECRET));
    g_assert_cmpuint(fixture_count(fixture, "--login"), ==, 1);
}

static void test_wrong_secret(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    GError *error = NULL;
    if (geteuid() != 0) {
        g_test_skip("the file has to belong to root");
        return;
    }
    write_secret(fixture, SECRET, 0400);
    fixture_exit(fixture, "--login", 24);
    g_assert_false(fixture_available(ONE(KNOWN CHAP), &error));
    g_assert_null(strstr(error->message, SECRET));
    fixture_assert_error(
        error, "storage \"data\": iqn.2026-01.x:t: portal 10.0.0.9:3260: the target does not "
               "accept the CHAP user or secret (or wants one and has none); compare "
               "chap_user and chap_secret_file with the target's (iscsiadm: 24)");
    assert_untouched(fixture);
}

static void test_bad_secret_files(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autofree char *path = g_build_filename(fixture->root, "etc/secret", NULL);
    g_autofree char *too_long = g_strnfill(300, 'x');
    fixture_assert_refused(ONE(KNOWN CHAP), "No such file");
    if (geteuid() != 0) {
        g_test_skip("the file has to belong to root");
        return;
    }
    write_secret(fixture, SECRET, 0640);
    fixture_assert_refused(ONE(KNOWN CHAP), "chmod 0600");
    write_secret(fixture, "", 0600);
    fixture_assert_refused(ONE(KNOWN CHAP), "one line");
    write_secret(fixture, "two\nlines", 0600);
    fixture_assert_refused(ONE(KNOWN CHAP), "one line");
    write_secret(fixture, too_long, 0600);
    fixture_assert_refused(ONE(KNOWN CHAP), "longer than 255");
    write_secret(fixture, SECRET, 0600);
    g_assert_cmpint(chown(path, 65534, 65534), ==, 0);
    fixture_assert_refused(ONE(KNOWN CHAP), "chown root");
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpint(symlink("/etc/passwd", path), ==, 0);
    fixture_assert_refused(ONE(KNOWN CHAP), "symbolic link");
    g_assert_cmpuint(fixture_count(fixture, "--login"), ==, 0);
    assert_untouched(fixture);
}

static void test_credential(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    static const char storage[] =
        ONE(KNOWN ",\"chap_user\":\"vm\",\"chap_secret_file\":\"chap-web\"");
    g_unsetenv("CREDENTIALS_DIRECTORY");
    fixture_assert_refused(storage, "LoadCredential=");
    g_autofree char *directory = g_build_filename(fixture->root, "credentials", NULL);
    g_autofree char *path = g_build_filename(directory, "chap-web", NULL);
    fixture_write(fixture, "credentials/chap-web", SECRET);
    g_assert_cmpint(chmod(path, 0400), ==, 0);
    g_setenv("CREDENTIALS_DIRECTORY", directory, TRUE);
    if (geteuid() != 0) {
        g_test_skip("the file has to belong to root");
        return;
    }
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    assert_available(storage);
    g_autofree char *record = fixture_read(fixture, RECORD);
    g_assert_nonnull(strstr(record, "password = " SECRET "\n"));
    g_unsetenv("CREDENTIALS_DIRECTORY");
}

// An admin's record, found by discovery, stays where it is and gets the secret, too.
static void test_discovered_record(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    static const char file[] = "etc/iscsi/nodes/iqn.2026-01.x:t/10.0.0.9,3260,1/default";
    if (geteuid() != 0) {
        g_test_skip("the file has to belong to root");
        return;
    }
    write_secret(fixture, SECRET, 0600);
    fixture_write(fixture, file,
                  "# BEGIN RECORD 2.1.8\nnode.startup = automatic\n"
                  "node.session.auth.password_in = other\nnode.session.auth.password = old\n"
                  "# END RECORD\n");
    fixture_exit(fixture, "--login", 24);
    fixture_assert_refused(ONE(KNOWN CHAP), "CHAP");
    g_autofree char *record = fixture_read(fixture, file);
    g_assert_cmpstr(record, ==,
                    "# BEGIN RECORD 2.1.8\nnode.startup = automatic\n"
                    "node.session.auth.password_in = other\nnode.session.auth.authmethod = CHAP\n"
                    "node.session.auth.username = vm\nnode.session.auth.password = " SECRET "\n"
                    "# END RECORD\n");
    g_assert_cmpuint(fixture_count(fixture, "-o new"), ==, 0);
    g_assert_cmpuint(fixture_count(fixture, "-o delete"), ==, 0);
}

// Debian 13's open-iscsi keeps its records in another place.
static void test_moved_records(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autofree char *moved = g_build_filename(fixture->root, "var/lib/iscsi", NULL);
    g_assert_cmpint(g_mkdir_with_parents(moved, 0755), ==, 0);
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    assert_available(ONE(KNOWN));
    g_autofree char *record = fixture_read(fixture, "var/lib/iscsi/nodes/iqn.2026-01.x:t/10.0.0.9,3260");
    g_assert_nonnull(strstr(record, "node.startup = manual\n"));
    g_assert_false(fixture_has(fixture, RECORD));
}

// --- logout ---

static bool log_out(const char *storage, GError **error)
{
    g_autoptr(HvDefinition) definition = fixture_definition(storage);
    return storage_log_out(definition, error);
}

static void test_log_out(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autoptr(GError) error = NULL;
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    fixture_lun(fixture, "10.1.0.9:3260", 2, "sdb", "naa.600a", 64);
    assert_available(TWO(KNOWN));
    fixture_write(fixture, "map-in-use", "");
    GError *busy = NULL;
    g_assert_false(log_out(TWO(KNOWN), &busy));
    fixture_assert_error(busy, "in use by dm-0 on this node; nothing was logged out");
    g_assert_cmpuint(fixture_count(fixture, "--logout"), ==, 0);
    g_autofree char *path = g_build_filename(fixture->root, "map-in-use", NULL);
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_true(log_out(TWO(KNOWN), &error));
    g_assert_no_error(error);
    g_assert_false(fixture_has(fixture, SESSION));
    g_assert_false(fixture_has(fixture, RECORD));
    g_assert_cmpuint(fixture_count(fixture, "--logout"), ==, 2);
    g_assert_true(log_out(TWO(KNOWN), &error)); // there is nothing left to do
    g_assert_no_error(error);
}

// --- what is told of it ---

static void test_report(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    g_autoptr(HvDefinition) definition = fixture_definition(TWO(KNOWN));
    fixture_lun(fixture, "10.0.0.9:3260", 1, "sda", "naa.600a", 64);
    fixture_lun(fixture, "10.1.0.9:3260", 2, "sdb", "naa.600a", 64);
    json_t *before = storage_report(definition);
    g_assert_cmpstr(json_string_value(json_object_get(json_array_get(before, 0), "state")), ==,
                    "absent");
    assert_available(TWO(KNOWN));
    json_t *ready = storage_report(definition), *entry = json_array_get(ready, 0);
    g_assert_cmpstr(json_string_value(json_object_get(entry, "state")), ==, "ready");
    g_assert_cmpstr(json_string_value(json_object_get(entry, "wwid")), ==, "3600a");
    g_assert_cmpint(json_integer_value(json_object_get(entry, "size_mib")), ==, 64);
    g_assert_cmpuint(json_array_size(json_object_get(entry, "paths")), ==, 2);
    fixture_write(fixture, SESSION "/state", "FAILED\n");
    json_t *degraded = storage_report(definition);
    entry = json_array_get(degraded, 0);
    g_assert_cmpstr(json_string_value(json_object_get(entry, "state")), ==, "degraded");
    g_assert_cmpstr(json_string_value(json_object_get(entry, "problem")), ==,
                    "1 of its 2 paths is down");
    json_decref(before);
    json_decref(ready);
    json_decref(degraded);
}

#define ADD(name, function)                                                                        \
    g_test_add("/storage-iscsi/" name, Fixture, NULL, fixture_set_up, function, fixture_tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("one-path", test_one_path);
    ADD("two-paths", test_two_paths);
    ADD("no-multipath-device", test_no_multipath_device);
    ADD("one-of-two-portals", test_one_of_two_portals);
    ADD("different-luns", test_paths_to_different_luns);
    ADD("identity-comes-late", test_identity_comes_late);
    ADD("unreachable", test_unreachable_portal);
    ADD("another-lun", test_another_lun);
    ADD("too-small", test_too_small);
    ADD("never-recorded", test_never_recorded);
    ADD("identify", test_identify);
    ADD("lost-session", test_lost_session);
    ADD("lost-session-comes-back", test_lost_session_comes_back);
    ADD("exit-codes", test_exit_codes);
    g_test_add_func("/storage-iscsi/texts", test_texts);
    ADD("missing-program", test_missing_program);
    ADD("chap", test_chap);
    ADD("wrong-secret", test_wrong_secret);
    ADD("bad-secret-files", test_bad_secret_files);
    ADD("credential", test_credential);
    ADD("discovered-record", test_discovered_record);
    ADD("moved-records", test_moved_records);
    ADD("log-out", test_log_out);
    ADD("report", test_report);
    return g_test_run();
}
