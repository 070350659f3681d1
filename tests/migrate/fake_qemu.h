// SPDX-License-Identifier: GPL-2.0-or-later
// The other side of a lazy load, as a test wants it: reads what QEMU would read, word by word, and
// asks for pages. Blocks; a word that is not the expected one fails the test.
#pragma once

#include "migrate/image.h"

typedef struct {
    int fd;
    uint64_t bytes; // read so far
    char block[256]; // of the last page
    bool in_part;    // more pages may come before its end
    uint64_t section;
} FakeQemu;

typedef struct {
    bool end;       // of the stream; otherwise a page:
    char block[256];
    uint64_t start; // bytes within the block
    bool zero;
    uint8_t bytes[FERRY_PAGE];
} FakePage;

// From the magic to the commands before the package, for these blocks.
void fake_qemu_head(FakeQemu *qemu, const FerryBlock *blocks, uint32_t n_blocks);
// The package; its device state is DEVICE.
void fake_qemu_package(FakeQemu *qemu, const void *device, size_t length);
// The next page that comes, or the end.
void fake_qemu_page(FakeQemu *qemu, FakePage *page);
bool fake_qemu_at_end(FakeQemu *qemu); // the other side hung up; reads what is left

// Asks for BYTES at START; BLOCK NULL: in the same block as before.
void fake_qemu_ask(FakeQemu *qemu, const char *block, uint64_t start, uint32_t bytes);
void fake_qemu_shut(FakeQemu *qemu, uint32_t status);

// Is asked for the bitmap of BLOCK and sends BYTES of it, then END.
void fake_qemu_bitmap(FakeQemu *qemu, const char *block, const uint8_t *bits, size_t bytes,
                      uint64_t end);
void fake_qemu_resume(FakeQemu *qemu); // is told that the load goes on
