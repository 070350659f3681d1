// SPDX-License-Identifier: GPL-2.0-or-later
// State areas as files and as raw block devices: preparing, header slots, what is refused.
#include "tests/migrate/area_support.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define OTHER_UUID "99999999-2222-3333-4444-555555555555"

static FerryRecord read_record(const char *path)
{
    g_autoptr(GError) error = NULL;
    FerryRecord record = {0};
    g_autoptr(FerryArea) area = ferry_area_open(path, &error);
    g_assert_no_error(error);
    ferry_area_read_record(area, &record, &error);
    g_assert_no_error(error);
    return record;
}

static void check_life(AreaFixture *f)
{
    g_autoptr(GError) error = NULL;
    area_fixture_saving(f, 64);
    FerryRecord record = read_record(f->path);
    g_assert_cmpint(record.state, ==, FERRY_SAVING);
    g_assert_cmpuint(record.sequence, ==, 4);
    g_assert_cmpuint(record.epoch, ==, 1);
    g_assert_cmpstr(record.vm, ==, "guest");
    g_assert_cmpstr(record.owner, ==, "n1");
    // Prepared again by the same VM: left as it is.
    g_assert_true(ferry_area_prepare(f->path, TEST_UUID, "guest", 64, &error));
    g_assert_cmpuint(read_record(f->path).sequence, ==, 4);
    // Another VM's: refused, untouched.
    g_assert_false(ferry_area_prepare(f->path, OTHER_UUID, "other", 64, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_OTHER_VM);
    g_assert_nonnull(strstr(error->message, "guest"));
    g_clear_error(&error);
    g_assert_false(ferry_area_release(f->path, OTHER_UUID, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_OTHER_VM);
    g_clear_error(&error);
    g_assert_cmpuint(read_record(f->path).sequence, ==, 4);
    g_assert_true(ferry_area_release(f->path, TEST_UUID, &error));
    g_assert_no_error(error);
}

static void test_file(void)
{
    AreaFixture f;
    struct stat status;
    area_fixture_file(&f, 0);
    check_life(&f);
    g_assert_cmpint(stat(f.path, &status), ==, -1); // released: gone
    area_fixture_clear(&f);
}

static void test_block_device(void)
{
    AreaFixture f;
    g_autoptr(GError) error = NULL;
    if (!area_fixture_loop(&f, ferry_area_size_needed(64))) {
        g_test_skip("no loop device can be made here");
        return;
    }
    check_life(&f);
    // Released: blank, another VM may have it.
    g_assert_true(ferry_area_prepare(f.path, OTHER_UUID, "other", 64, &error));
    g_assert_no_error(error);
    area_fixture_clear(&f);
}

static void test_too_small(void)
{
    AreaFixture f;
    g_autoptr(GError) error = NULL;
    if (!area_fixture_loop(&f, ferry_area_size_needed(64) - 4096)) {
        g_test_skip("no loop device can be made here");
        return;
    }
    g_assert_false(ferry_area_prepare(f.path, TEST_UUID, "guest", 64, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_TOO_SMALL);
    g_assert_nonnull(strstr(error->message, f.path));
    g_clear_error(&error);
    g_autoptr(FerryArea) area = ferry_area_open(f.path, &error);
    FerryRecord record;
    g_assert_false(ferry_area_read_record(area, &record, &error)); // nothing was written
    g_clear_pointer(&area, ferry_area_close);
    area_fixture_clear(&f);
}

static void test_file_grows(void)
{
    AreaFixture f;
    g_autoptr(GError) error = NULL;
    area_fixture_file(&f, 0);
    g_assert_true(ferry_area_prepare(f.path, TEST_UUID, "guest", 64, &error));
    g_assert_false(ferry_area_check(f.path, TEST_UUID, 4096, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_TOO_SMALL);
    g_clear_error(&error);
    g_assert_true(ferry_area_prepare(f.path, TEST_UUID, "guest", 4096, &error));
    g_assert_true(ferry_area_check(f.path, TEST_UUID, 4096, &error));
    g_assert_no_error(error);
    area_fixture_clear(&f);
}

// A file system of a test's own, with room for MIB.
static bool mount_small(const AreaFixture *f, unsigned mib)
{
    g_autofree char *options = g_strdup_printf("size=%um", mib);
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", f->dir, "tmpfs", 0, options) == 0;
}

// Its blocks are taken when it is made: a save does not find the file system full.
static void test_reserved(void)
{
    AreaFixture f;
    g_autoptr(GError) error = NULL;
    struct stat status;
    area_fixture_file(&f, 0);
    if (mount_small(&f, 200)) {
        g_assert_true(ferry_area_prepare(f.path, TEST_UUID, "guest", 64, &error));
        g_assert_no_error(error);
        g_assert_cmpint(stat(f.path, &status), ==, 0);
        g_assert_cmpuint((uint64_t)status.st_blocks * 512, >=, ferry_area_size_needed(64));
        g_assert_false(ferry_area_prepare(f.path, TEST_UUID, "guest", 4096, &error)); // grows
        g_assert_error(error, FERRY_ERROR, FERRY_ERROR_IO);
        g_assert_nonnull(strstr(error->message, "no room"));
        g_assert_cmpint(stat(f.path, &status), ==, 0);
        g_assert_cmpuint((uint64_t)status.st_size, ==, ferry_area_size_needed(64));
        g_assert_cmpint(read_record(f.path).state, ==, FERRY_EMPTY);
        g_assert_cmpint(umount(f.dir), ==, 0);
    } else {
        g_test_skip("no file system can be mounted here");
    }
    area_fixture_clear(&f);
}

static void test_no_room(void)
{
    AreaFixture f;
    g_autoptr(GError) error = NULL;
    struct stat status;
    area_fixture_file(&f, 0);
    if (mount_small(&f, 40)) {
        g_assert_false(ferry_area_prepare(f.path, TEST_UUID, "guest", 64, &error));
        g_assert_error(error, FERRY_ERROR, FERRY_ERROR_IO);
        g_assert_nonnull(strstr(error->message, f.path));
        g_assert_cmpint(stat(f.path, &status), ==, -1); // nothing is left behind
        g_assert_cmpint(umount(f.dir), ==, 0);
    } else {
        g_test_skip("no file system can be mounted here");
    }
    area_fixture_clear(&f);
}

static void test_foreign_data(void)
{
    AreaFixture f;
    g_autoptr(GError) error = NULL;
    area_fixture_file(&f, ferry_area_size_needed(64));
    area_fixture_flip(&f, 100 * 1024);
    g_assert_false(ferry_area_prepare(f.path, TEST_UUID, "guest", 64, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_FORMAT);
    g_assert_nonnull(strstr(error->message, f.path));
    area_fixture_clear(&f);
}

static void test_no_such_place(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(ferry_area_prepare("/nowhere/at/all.vmf", TEST_UUID, "guest", 64, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_IO);
    g_assert_nonnull(strstr(error->message, "/nowhere/at/all.vmf"));
    g_clear_error(&error);
    g_assert_false(ferry_area_prepare("/", TEST_UUID, "guest", 64, &error));
    g_assert_nonnull(error);
}

// A torn write of the newer slot leaves the older one, which is the state before that write.
static void test_torn_slot(void)
{
    AreaFixture f;
    area_fixture_file(&f, 0);
    area_fixture_saving(&f, 64);
    // Sequence 1 went to slot A, RUNNING as 2 to B and as 3 to A, SAVING as 4 to B.
    area_fixture_flip(&f, FERRY_SLOT_B + 2000);
    FerryRecord record = read_record(f.path);
    g_assert_cmpuint(record.sequence, ==, 3);
    g_assert_cmpint(record.state, ==, FERRY_RUNNING);
    // The next write goes over the broken slot, not over the good one.
    area_fixture_advance(&f, FERRY_OFF, false, NULL);
    area_fixture_flip(&f, FERRY_SLOT_B + 2000);
    g_assert_cmpuint(read_record(f.path).sequence, ==, 3);
    area_fixture_clear(&f);
}

static void expect_damaged(AreaFixture *f, char slot, const char *other)
{
    g_autoptr(GError) error = NULL;
    FerryRecord record;
    bool damaged = false;
    g_autofree char *name = g_strdup_printf("slot %c", slot);
    g_autoptr(FerryArea) area = ferry_area_open(f->path, &error);
    g_assert_false(ferry_area_read_record(area, &record, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, f->path));
    g_assert_nonnull(strstr(error->message, name));
    g_assert_nonnull(strstr(error->message, "vmferry discard guest"));
    g_clear_error(&error);
    g_assert_true(ferry_area_salvage_record(area, &record, &damaged, &error));
    g_assert_true(damaged);
    g_assert_cmpstr(ferry_state_name(record.state), ==, other);
}

// The older slot must not stand for a newer one that is damaged where that one may have spoken
// about saved memory: after SAVING it may be sealed, after SEALED somebody may have resumed it
// already.
static void test_damaged_slot(void)
{
    static const struct {
        FerryState state;
        bool new_epoch;
        const char *other;
        char newest;
    } steps[] = {{FERRY_SEALED, false, "saving", 'A'},
                 {FERRY_CONSUMED, true, "consumed", 'A'}, // in both
                 {FERRY_QUARANTINED, false, "consumed", 'B'}};
    AreaFixture f;
    area_fixture_file(&f, 0);
    area_fixture_saving(&f, 64); // into slot B; SEALED goes to A, and so on
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        uint64_t newest = steps[i].newest == 'A' ? FERRY_SLOT_A : FERRY_SLOT_B;
        area_fixture_advance(&f, steps[i].state, steps[i].new_epoch, NULL);
        for (uint64_t at = 0; at < FERRY_PAGE; at += 97) {
            area_fixture_flip(&f, newest + at);
            expect_damaged(&f, steps[i].newest, steps[i].other);
            area_fixture_flip(&f, newest + at);
        }
        g_assert_cmpint(read_record(f.path).state, ==, steps[i].state);
    }
    area_fixture_clear(&f);
}

// The older slot is damaged: nobody can tell that it is the older one.
static void test_damaged_older_slot(void)
{
    AreaFixture f;
    g_autoptr(GError) error = NULL;
    area_fixture_file(&f, 0);
    area_fixture_saving(&f, 64);
    area_fixture_advance(&f, FERRY_SEALED, false, NULL);
    FerryRecord record = read_record(f.path);
    area_fixture_flip(&f, FERRY_SLOT_B + 100);
    expect_damaged(&f, 'B', "sealed");
    // Whoever knows that it is the newest goes on, over the damaged one.
    g_autoptr(FerryArea) area = ferry_area_open(f.path, &error);
    g_assert_true(ferry_record_advance(&record, FERRY_CONSUMED, true, "n2", &error));
    g_assert_true(ferry_area_write_record(area, &record, record.sequence, &error));
    g_assert_cmpint(read_record(f.path).state, ==, FERRY_CONSUMED);
    area_fixture_clear(&f);
}

// What was written before the commit lands once more after it, over one slot or the other.
static void test_late_write(void)
{
    static const off_t slots[] = {FERRY_SLOT_A, FERRY_SLOT_B};
    uint8_t before[2][FERRY_PAGE], after[2][FERRY_PAGE];
    AreaFixture f;
    area_fixture_file(&f, 0);
    area_fixture_saving(&f, 64);
    area_fixture_advance(&f, FERRY_SEALED, false, NULL);
    int fd = open(f.path, O_RDWR | O_CLOEXEC);
    for (size_t i = 0; i < G_N_ELEMENTS(slots); i++)
        g_assert_cmpint(pread(fd, before[i], FERRY_PAGE, slots[i]), ==, FERRY_PAGE);
    area_fixture_advance(&f, FERRY_CONSUMED, true, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(slots); i++) {
        g_assert_cmpint(pread(fd, after[i], FERRY_PAGE, slots[i]), ==, FERRY_PAGE);
        g_assert_cmpint(pwrite(fd, before[i], FERRY_PAGE, slots[i]), ==, FERRY_PAGE);
        g_assert_cmpint(read_record(f.path).state, ==, FERRY_CONSUMED);
        g_assert_cmpint(pwrite(fd, after[i], FERRY_PAGE, slots[i]), ==, FERRY_PAGE);
    }
    close(fd);
    area_fixture_clear(&f);
}

static void test_both_slots_broken(void)
{
    AreaFixture f;
    g_autoptr(GError) error = NULL;
    FerryRecord record;
    area_fixture_file(&f, 0);
    area_fixture_saving(&f, 64);
    area_fixture_flip(&f, FERRY_SLOT_A + 30);
    area_fixture_flip(&f, FERRY_SLOT_B + 4095);
    g_autoptr(FerryArea) area = ferry_area_open(f.path, &error);
    g_assert_false(ferry_area_read_record(area, &record, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_FORMAT);
    g_assert_nonnull(strstr(error->message, f.path));
    area_fixture_clear(&f);
}

// A decision that was based on an older record is not written.
static void test_expected_sequence(void)
{
    AreaFixture f;
    g_autoptr(GError) error = NULL;
    area_fixture_file(&f, 0);
    area_fixture_saving(&f, 64);
    FerryRecord record = read_record(f.path);
    g_assert_true(ferry_record_advance(&record, FERRY_RUNNING, false, "n2", &error));
    g_autoptr(FerryArea) area = ferry_area_open(f.path, &error);
    g_assert_false(ferry_area_write_record(area, &record, 2, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_STATE);
    g_assert_cmpint(read_record(f.path).state, ==, FERRY_SAVING);
    g_clear_error(&error);
    g_assert_false(ferry_area_expect(area, 2, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_STATE);
    g_clear_error(&error);
    g_assert_true(ferry_area_expect(area, read_record(f.path).sequence, &error));
    area_fixture_clear(&f);
}

static void test_kept_definition(void)
{
    AreaFixture f;
    g_autoptr(GError) error = NULL;
    area_fixture_file(&f, 0);
    area_fixture_saving(&f, 64);
    FerryRecord record = read_record(f.path);
    g_autoptr(FerryArea) area = ferry_area_open(f.path, &error);
    g_assert_null(ferry_area_read_definition(area, &record, &error)); // none was kept
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT);
    g_clear_error(&error);
    g_autofree char *text = g_strnfill(70000, 'd');
    g_assert_true(ferry_area_write_definition(area, &record, text, &error));
    g_assert_true(ferry_area_write_record(area, &record, record.sequence, &error));
    record = read_record(f.path);
    g_autofree char *kept = ferry_area_read_definition(area, &record, &error);
    g_assert_cmpstr(kept, ==, text);
    area_fixture_flip(&f, FERRY_DEFINITION_OFFSET + 69999);
    g_assert_null(ferry_area_read_definition(area, &record, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT);
    g_clear_error(&error);
    g_autofree char *too_long = g_strnfill(FERRY_DEFINITION_MAX + 1, 'd');
    g_assert_false(ferry_area_write_definition(area, &record, too_long, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_TOO_SMALL);
    area_fixture_clear(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/area/file", test_file);
    g_test_add_func("/area/block-device", test_block_device);
    g_test_add_func("/area/too-small", test_too_small);
    g_test_add_func("/area/file-grows", test_file_grows);
    g_test_add_func("/area/reserved", test_reserved);
    g_test_add_func("/area/no-room", test_no_room);
    g_test_add_func("/area/foreign-data", test_foreign_data);
    g_test_add_func("/area/no-such-place", test_no_such_place);
    g_test_add_func("/area/torn-slot", test_torn_slot);
    g_test_add_func("/area/damaged-slot", test_damaged_slot);
    g_test_add_func("/area/damaged-older-slot", test_damaged_older_slot);
    g_test_add_func("/area/late-write", test_late_write);
    g_test_add_func("/area/both-slots-broken", test_both_slots_broken);
    g_test_add_func("/area/definition", test_kept_definition);
    g_test_add_func("/area/expected-sequence", test_expected_sequence);
    return g_test_run();
}
