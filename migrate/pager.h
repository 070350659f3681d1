// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-pager as a child process: state area in, QEMU's incoming stream out. Main-loop thread.
// Eager: the whole image goes to QEMU before it reports `paused`. The child ends when the agent
// dies before the load is complete.
#pragma once

#include "migrate/record.h"

typedef struct FerryPager FerryPager;

typedef struct {
    uint64_t bytes_read; // from storage
    uint64_t bytes_sent; // to QEMU
    uint64_t bytes_total;
} FerryPagerProgress;

typedef struct {
    void (*connected)(FerryPager *pager, gpointer data); // to QEMU's incoming socket
    // At most 5 times a second; may be NULL.
    void (*progress)(FerryPager *pager, const FerryPagerProgress *progress, gpointer data);
    // Everything was sent and verified against its CRC32C. QEMU's own "completed" comes from hvcore.
    void (*loaded)(FerryPager *pager, const FerryPagerProgress *progress, gpointer data);
    // Called once instead of loaded. FERRY_ERROR_CORRUPT: the image is not to be used again.
    void (*failed)(FerryPager *pager, const GError *error, gpointer data);
} FerryPagerEvents;

// Starts LIBEXEC_DIR/vmferry-pager for the area at AREA_PATH and connects to QEMU, which listens on
// SOCKET_PATH already. Reads nothing yet.
FerryPager *ferry_pager_start(const char *libexec_dir, const char *area_path,
                              const char *socket_path, const FerryPagerEvents *events,
                              gpointer data, GError **error);
// Loads the image of EPOCH. The pager reads the record itself and refuses any that is not SEALED
// with that epoch.
void ferry_pager_load(FerryPager *pager, uint64_t epoch);
void ferry_pager_free(FerryPager *pager); // kills the child if it still runs
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryPager, ferry_pager_free)
