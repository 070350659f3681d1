// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/migrate/area_support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void area_fixture_file(AreaFixture *f, uint64_t size)
{
    *f = (AreaFixture){.dir = test_dir_new()};
    f->path = g_build_filename(f->dir, "area.vmf", NULL);
    if (size == 0)
        return;
    int fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    close(fd);
}

bool area_fixture_loop(AreaFixture *f, uint64_t size)
{
    char *out = NULL;
    int status = -1;
    area_fixture_file(f, size);
    const char *argv[] = {"losetup", "--find", "--show", f->path, NULL};
    if (g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL,
                     G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &out, NULL,
                     &status, NULL) &&
        status == 0) {
        g_free(f->path);
        f->path = g_strdup(g_strstrip(out));
        f->loop = out;
        return true;
    }
    g_free(out);
    area_fixture_clear(f);
    return false;
}

void area_fixture_clear(AreaFixture *f)
{
    if (f->loop != NULL) {
        const char *argv[] = {"losetup", "--detach", f->loop, NULL};
        int status = -1;
        g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                     NULL, &status, NULL);
        g_assert_cmpint(status, ==, 0);
    }
    g_free(f->loop);
    g_free(f->path);
    test_dir_free(f->dir);
    *f = (AreaFixture){0};
}

void area_fixture_advance(AreaFixture *f, FerryState to, bool new_epoch, const FerryImage *image)
{
    g_autoptr(GError) error = NULL;
    FerryRecord record;
    g_autoptr(FerryArea) area = ferry_area_open(f->path, &error);
    g_assert_no_error(error);
    ferry_area_read_record(area, &record, &error);
    g_assert_no_error(error);
    ferry_record_advance(&record, to, new_epoch, "n1", &error);
    g_assert_no_error(error);
    if (image != NULL)
        record.image = *image;
    ferry_area_write_record(area, &record, record.sequence, &error);
    g_assert_no_error(error);
}

void area_fixture_saving(AreaFixture *f, uint64_t memory_mib)
{
    g_autoptr(GError) error = NULL;
    ferry_area_prepare(f->path, TEST_UUID, "guest", memory_mib, &error);
    g_assert_no_error(error);
    area_fixture_advance(f, FERRY_RUNNING, true, NULL);
    area_fixture_advance(f, FERRY_SAVING, false, NULL);
}

void area_fixture_flip(AreaFixture *f, uint64_t offset)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FerryArea) area = ferry_area_open(f->path, &error);
    g_assert_no_error(error);
    uint8_t *page = ferry_buffer_new(FERRY_PAGE);
    uint64_t start = offset / FERRY_PAGE * FERRY_PAGE;
    g_assert_true(ferry_area_read(area, page, FERRY_PAGE, start, &error));
    page[offset - start] ^= 0x10;
    g_assert_true(ferry_area_write(area, page, FERRY_PAGE, start, &error));
    free(page);
}
