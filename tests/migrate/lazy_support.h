// SPDX-License-Identifier: GPL-2.0-or-later
// A lazy load, in a thread, of an image that the test knows, into a scripted QEMU.
#pragma once

#include "migrate/load_lazy.h"
#include "tests/migrate/area_support.h"
#include "tests/migrate/fake_qemu.h"

enum {
    LAZY_RAM_PAGES = 4000,
    LAZY_ROM_PAGES = 40,
    LAZY_PAGES = LAZY_RAM_PAGES + LAZY_ROM_PAGES,
    LAZY_BLOCKS = 2,
    LAZY_ANSWER_BYTES = 768 * 1024, // within which an answer comes; the image has 16 MiB
};

extern const FerryBlock lazy_blocks[LAZY_BLOCKS]; // pc.ram, pc.rom

typedef struct {
    AreaFixture area;
    FerryArea *open;
    FerryImageReader *reader;
    int ours;
    FakeQemu qemu;
    GThread *thread;
    unsigned running;
    bool again; // goes on with a load that was cut
    bool loaded;
    GError *error;
    FerryFaultStats stats;
    uint8_t seen[LAZY_PAGES];
} LazyFixture;

// The others are present.
bool lazy_is_zero(uint64_t page);

void lazy_set_up(LazyFixture *f, gconstpointer data);
void lazy_tear_down(LazyFixture *f, gconstpointer data);

// Starts the load; QEMU has read everything up to the pages, or nothing where the fixture's AGAIN.
void lazy_begin(LazyFixture *f);
// Reads a page, which has to come for the first time and to be right; false at the end.
bool lazy_next(LazyFixture *f, uint64_t *number);
// Reads until PAGE comes, which has to be soon.
void lazy_wait_for(LazyFixture *f, uint64_t page);
// Reads everything; the load has to succeed and to have sent all.
void lazy_finish(LazyFixture *f);
// The load has to end with CODE.
void lazy_fails(LazyFixture *f, FerryErrorCode code);
