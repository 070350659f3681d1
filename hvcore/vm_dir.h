// SPDX-License-Identifier: GPL-2.0-or-later
// RUN_DIR/NAME/: what root makes there QEMU's user may reach only where it knows the name and was
// given it; what QEMU makes itself is in RUN_DIR/NAME/qemu/, which is its user's. Nothing that
// vmferryd believes is in there. Internal to hvcore.
#pragma once

#include "hvcore/user.h"
#include <stdbool.h>

// Makes the directories, or sets owner and mode of those that are there. USER NULL: root's alone.
// HV_ERROR_START.
bool hv_vm_dir_make(const char *run_dir, const char *name, const HvUser *user, GError **error);
// Removes both with what is in them. HV_ERROR_UNKNOWN.
bool hv_vm_dir_remove(const char *run_dir, const char *name, GError **error);
// An empty file for QEMU's user in its directory. HV_ERROR_START.
bool hv_vm_dir_make_file(const char *path, const HvUser *user, GError **error);
// Lets the user of the running process PID use the socket at PATH, which root has made. A QEMU that
// was started before the user was changed has the one it was started with. HV_ERROR_RESOURCE.
bool hv_vm_dir_give(const char *path, pid_t pid, GError **error);
