// SPDX-License-Identifier: GPL-2.0-or-later
// Block devices of this node, as the kernel and udev tell of them. Internal to agent/storage*.c;
// blocking, on any thread.
#pragma once

#include "hvcore/definition.h"

typedef struct {
    char *kernel_name; // "sda", "dm-3"
    char *wwid;        // as hv_wwid_normalize has it
    uint64_t bytes;
} StorageDevice;

void storage_device_clear(StorageDevice *device);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StorageDevice, storage_device_clear)

// NULL where the device has none. The caller frees it.
char *storage_device_wwid(const char *kernel_name);
uint64_t storage_device_bytes(const char *kernel_name);
// The device-mapper device whose uuid is UUID ("mpath-3600...", "LVM-..."); the caller frees it.
char *storage_device_by_uuid(const char *uuid);
// Every path to the LUN: SCSI disks with that WWID. Free with g_strfreev.
char **storage_device_paths(const char *wwid);

// Of PATHS (kernel names of SCSI disks, one at least, of one LUN) the multipath device where there
// is one. Their sizes are read anew first. HV_ERROR_RESOURCE: there are several paths, but
// multipath-tools made no device of them.
bool storage_device_choose(char *const *paths, StorageDevice *device, GError **error);
// Whether it is what STORAGE is to be, by WWID and size.
bool storage_device_check(const HvStorage *storage, const StorageDevice *device, GError **error);
// Makes PATH a link to the device, by a name that udev gives for what the device is.
bool storage_device_link(const StorageDevice *device, const char *path, GError **error);
