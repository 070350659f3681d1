// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-saver as a child process: QEMU's migration stream in, state area out. Main-loop thread.
// The saver writes pages, device state, index and descriptor; never the run record.
// The child ends when the agent dies (its stdin closes), which fails QEMU's migration: the guest
// runs on.
#pragma once

#include "migrate/record.h"

typedef struct FerrySaver FerrySaver;

typedef struct {
    uint64_t bytes_written;  // to storage
    uint64_t bytes_pending;  // read from QEMU, on their way there
    uint64_t stream_bytes;   // read from QEMU
    uint64_t pages_present, pages_zero;
    uint32_t passes;
    uint64_t ram_bytes;
} FerrySaverProgress;

typedef struct {
    void (*listening)(FerrySaver *saver, gpointer data); // QEMU may connect to the socket
    void (*progress)(FerrySaver *saver, const FerrySaverProgress *progress, gpointer data);
    // Everything is durable; IMAGE is what the SEALED record has to say. Called once.
    void (*flushed)(FerrySaver *saver, const FerryImage *image, const FerrySaverProgress *progress,
                    gpointer data);
    // Instead of flushed: the save failed (stream cut, I/O error, child killed). Called once.
    void (*failed)(FerrySaver *saver, const GError *error, gpointer data);
} FerrySaverEvents;

// Starts LIBEXEC_DIR/vmferry-saver for the area at AREA_PATH, listening on the unix socket
// SOCKET_PATH. EPOCH is written into the descriptor.
FerrySaver *ferry_saver_start(const char *libexec_dir, const char *area_path,
                              const char *socket_path, uint64_t epoch,
                              const FerrySaverEvents *events, gpointer data, GError **error);
// The target that reads along has got so many bytes of pages: the saver does not run far away from it.
void ferry_saver_ahead(FerrySaver *saver, uint64_t bytes);
// The guest is paused: the saver does not wait for the target any more.
void ferry_saver_paused(FerrySaver *saver);
// Kills the child if it still runs; no event comes afterwards.
void ferry_saver_free(FerrySaver *saver);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerrySaver, ferry_saver_free)
