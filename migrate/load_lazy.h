// SPDX-License-Identifier: GPL-2.0-or-later
// The lazy way to restore: QEMU runs as soon as it has the device state, pages follow as the guest
// asks for them, the others in the background.
#pragma once

#include "migrate/commands.h"
#include "migrate/load_ahead.h"
#include "migrate/load_eager.h"

typedef struct {
    uint64_t faults; // that were answered
    // From QEMU's request (or our last look for one) to its page written into the socket.
    uint64_t p50_us, p99_us, p999_us, max_us;
} FerryFaultStats;

typedef struct {
    void (*running)(void *env); // QEMU was sent all that it needs to run
    void (*progress)(const FerryLoadProgress *progress, void *env);
} FerryLazyEvents;

// All is borrowed.
typedef struct {
    FerryImageReader *reader; // as of ferry_image_reader_open_lazy
    FerryReads *reads;        // nobody else uses it meanwhile
    int fd;                   // QEMU's incoming socket
    FerryLoadAhead *ahead;    // what was loaded before the image was sealed; NULL: nothing
    FerryCommands *commands;  // {"cmd":"hurry"}; its end means nothing. NULL: none
    bool linear;              // pages in order; for comparison
} FerryLazyLoad;

// Sends the image to QEMU and answers QEMU's requests until QEMU says that it has everything.
// Blocks; events come on this thread. FERRY_ERROR_CORRUPT: a CRC32C did not match, and nothing of
// what it covers was sent; after `running` the guest may run on pages that were sound.
bool ferry_load_lazy(const FerryLazyLoad *load, const FerryLazyEvents *events, void *env,
                     FerryFaultStats *stats, GError **error);
// Goes on with a load that was cut (QEMU: postcopy-paused, then migrate-recover): asks QEMU what it
// has and sends the rest. READER as of ferry_image_reader_open_again; progress counts what is sent
// from now on.
bool ferry_load_lazy_again(const FerryLazyLoad *load, const FerryLazyEvents *events, void *env,
                           FerryFaultStats *stats, GError **error);
