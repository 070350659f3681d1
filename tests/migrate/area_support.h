// SPDX-License-Identifier: GPL-2.0-or-later
// State areas for tests: a file, or a raw block device where loop devices can be made.
#pragma once

#include "migrate/image_writer.h"
#include "tests/hvcore/support.h"

#define TEST_UUID "11111111-2222-3333-4444-555555555555"

typedef struct {
    TestDir *dir;
    char *path;
    char *loop; // the loop device behind PATH, NULL for a file
} AreaFixture;

// SIZE 0: a path where nothing is yet.
void area_fixture_file(AreaFixture *f, uint64_t size);
// False where this machine has no loop devices.
bool area_fixture_loop(AreaFixture *f, uint64_t size);
void area_fixture_clear(AreaFixture *f);

// Prepares the area for VM "guest" with MEMORY_MIB and brings its record to SAVING, epoch 1.
void area_fixture_saving(AreaFixture *f, uint64_t memory_mib);
// Writes the record's next version.
void area_fixture_advance(AreaFixture *f, FerryState to, bool new_epoch, const FerryImage *image);

// Inverts one bit of the byte at OFFSET, past all caches.
void area_fixture_flip(AreaFixture *f, uint64_t offset);
