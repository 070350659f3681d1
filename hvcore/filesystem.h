// SPDX-License-Identifier: GPL-2.0-or-later
// File systems that only a VM's owner mounts. A node may say that a VM is stopped only when they
// are unmounted there: mounted on two nodes they are destroyed.
//
// Before a mount is begun a note is made in the VM's run directory; it is locked by the program
// that mounts, so that a mount that hangs in the kernel is known as long as it may still come
// about, whoever was killed meanwhile. All functions block; any thread.
#pragma once

#include "hvcore/definition.h"

enum { HV_MOUNT_MS = 60 * 1000, HV_UNMOUNT_MS = 30 * 1000 };

// In place of mount(8) and umount(8): "" but in tests.
extern const char *hv_mount_directory;

// Mounts STORAGE of VM from the block device DEVICE. Mounted already: done. HV_ERROR_RESOURCE: with
// mount's own words, and nothing is mounted. HV_ERROR_UNKNOWN: it may still come about.
bool hv_filesystem_mount(const char *vm, const HvStorage *storage, const char *device,
                         GError **error);
// Whether one of VM's is, or may be, mounted on this node. Does not block.
bool hv_filesystems_held(const char *vm);
// Unmounts all of VM's. HV_ERROR_RESOURCE: one is in use; HV_ERROR_UNKNOWN: a mount has not come
// back.
bool hv_filesystems_release(const char *vm, GError **error);
