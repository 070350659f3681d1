// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-pager as a child process: state area in, QEMU's incoming stream out. Main-loop thread.
// Eager: the whole image goes to QEMU before it reports `paused`; the child ends when the agent
// dies before that. Lazy: QEMU (hv_vm_load with LAZY) reports `paused` as soon as it has the device
// state, and asks for pages from then on; the child outlives the agent: the guest depends on it.
#pragma once

#include "migrate/record.h"

typedef struct FerryPager FerryPager;

typedef struct {
    uint64_t bytes_read; // from storage
    uint64_t bytes_sent; // to QEMU
    uint64_t bytes_total;
    // Of a lazy load, once it is loaded: what was read before the image was sealed, pages that the
    // guest waited for, and how long.
    uint64_t bytes_ahead;
    uint64_t faults, fault_p50_us, fault_p99_us, fault_p999_us, fault_max_us;
} FerryPagerProgress;

typedef struct {
    void (*connected)(FerryPager *pager, gpointer data); // to QEMU's incoming socket
    // At most 5 times a second; may be NULL.
    void (*progress)(FerryPager *pager, const FerryPagerProgress *progress, gpointer data);
    // While it reads along; may be NULL: so many bytes of pages were given to QEMU.
    void (*ahead)(FerryPager *pager, uint64_t bytes, gpointer data);
    // Everything was sent and verified against its CRC32C (lazy: and QEMU has it; the image is not
    // needed any more). QEMU's own "completed" comes from hvcore.
    void (*loaded)(FerryPager *pager, const FerryPagerProgress *progress, gpointer data);
    // Called once instead of loaded. FERRY_ERROR_CORRUPT: the image is not to be used again. After
    // `running` the guest waits for ever for what it does not have: it is lost, end it.
    void (*failed)(FerryPager *pager, const GError *error, gpointer data);
    // Lazy only; may be NULL: QEMU was sent all that it needs to run the guest. It reports `paused`
    // when it has taken it in; then is the time for the commit and hv_vm_cont.
    void (*running)(FerryPager *pager, gpointer data);
} FerryPagerEvents;

// Starts LIBEXEC_DIR/vmferry-pager for the area at AREA_PATH and connects to QEMU, which listens on
// SOCKET_PATH already. Reads nothing yet.
FerryPager *ferry_pager_start(const char *libexec_dir, const char *area_path,
                              const char *socket_path, const FerryPagerEvents *events,
                              gpointer data, GError **error);
// The same for a lazy load. HUGE_BLOCK: the RAM block that QEMU has in huge pages, NULL = none.
FerryPager *ferry_pager_start_lazy(const char *libexec_dir, const char *area_path,
                                   const char *socket_path, const char *huge_block,
                                   const FerryPagerEvents *events, gpointer data, GError **error);
// Goes on with a lazy load whose pager went away, without a further command: QEMU listens again,
// on SOCKET_PATH (QMP migrate-recover). EPOCH is the image's; the record may be CONSUMED (EPOCH + 1)
// by now. Events as for a lazy load; progress counts what is sent from now on.
FerryPager *ferry_pager_start_again(const char *libexec_dir, const char *area_path,
                                    const char *socket_path, const char *huge_block,
                                    uint64_t epoch, const FerryPagerEvents *events, gpointer data, GError **error);
// A lazy pager reads the image of EPOCH along while it is still being saved, and gives QEMU what is
// there; before ferry_pager_load. That nothing of it stays that the sealed image does not have is the
// pager's own care.
void ferry_pager_preload(FerryPager *pager, uint64_t epoch);
// Loads the image of EPOCH. The pager reads the record itself and refuses any that is not SEALED
// with that epoch.
void ferry_pager_load(FerryPager *pager, uint64_t epoch);
// A save or move waits for the end of a lazy load: all of the storage's speed from now on, also while
// the guest waits for pages.
void ferry_pager_hurry(FerryPager *pager);
// From now on events go there.
void ferry_pager_redirect(FerryPager *pager, const FerryPagerEvents *events, gpointer data);
// Lets a lazy load go on without us; frees PAGER.
void ferry_pager_leave(FerryPager *pager);
void ferry_pager_free(FerryPager *pager); // kills the child if it still runs
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryPager, ferry_pager_free)
