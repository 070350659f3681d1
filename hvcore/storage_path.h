// SPDX-License-Identifier: GPL-2.0-or-later
// Where a VM's storage is found on this node: below the run directory, the same on every node,
// whatever its devices are called there.
#pragma once

// The run directory, /run/vmferry where nothing was set. Set once, before other threads start.
void hv_storage_set_run_dir(const char *run_dir);
// The link to the device of the block storage NAME of VM. The caller frees it.
char *hv_storage_link(const char *vm, const char *name);
// Where a file system of VM is mounted whose definition names no place. The caller frees it.
char *hv_storage_mount_point(const char *vm, const char *name);
// The file that says that the file system NAME of VM is or may be mounted. The caller frees it.
char *hv_storage_note(const char *vm, const char *name);
