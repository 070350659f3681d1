// SPDX-License-Identifier: GPL-2.0-or-later
// A guest of the real QEMU that is saved by the real saver and loaded by the real pager.
#pragma once

#include "migrate/image_reader.h"
#include "migrate/pager.h"
#include "migrate/saver.h"
#include "tests/hvcore/vm_fixture.h"
#include "tests/migrate/area_support.h"

typedef struct {
    VmFixture vm;
    AreaFixture area, second;
    bool block_device;
    bool lazy;      // how the next load goes
    bool recovered; // by a pager that sends the rest only
    bool listening, flushed, connected, running, loaded, failed;
    int64_t running_at, loaded_at; // monotonic, microseconds
    FerryImage image;
    FerrySaverProgress saved;
    FerryPagerProgress loads;
    GError *error;
} Restore;

// DATA NULL: state areas in files; else on loop devices, `block_device` false where there are none.
void restore_set_up(Restore *f, gconstpointer data);
void restore_tear_down(Restore *f, gconstpointer data);

FerrySaver *restore_begin_save(Restore *f, const AreaFixture *area);
// Saves the guest and seals AREA.
void restore_save(Restore *f, AreaFixture *area);
// The fixture's VM becomes another QEMU that waits for an image; returns the socket's path.
char *restore_begin_incoming(Restore *f);
// The same with a pager that is connected.
FerryPager *restore_begin_load(Restore *f);
// Everything is loaded, and QEMU says so.
void restore_wait_loaded(Restore *f);
// Kills PAGER in the middle of a lazy load and goes on with another one, which is returned. `loaded`
// may have come before.
FerryPager *restore_kill_pager(Restore *f, FerryPager *pager, unsigned round);
// The same where there is no pager any more.
FerryPager *restore_go_on(Restore *f, unsigned round);
// Both areas hold the same memory.
void restore_compare(const Restore *f);
// Where the first area has its first present page.
uint64_t restore_offset_of_a_page(const Restore *f);
// All of it: the guest is saved, loaded, saved again while it is paused, compared, and runs on.
void restore_round_trip(Restore *f);
