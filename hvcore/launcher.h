// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-launch's words: what stands between vmferryd and QEMU. It opens the disks, where storage
// that hangs holds up nobody else, becomes QEMU's user, closes what QEMU does not need, and turns
// into QEMU, whose pid it has had all the time. Internal to hvcore.
#pragma once

#include "hvcore/definition.h"
#include "hvcore/user.h"

typedef struct {
    const char *program; // vmferry-launch
    const HvUser *user;  // NULL: who vmferryd is
} HvLauncher;

// Puts the words before those of ARGV. FDS stay open, besides standard input, output and error.
void hv_launcher_wrap(GPtrArray *argv, const HvLauncher *launcher, const int *fds, size_t n_fds);
// The same for QEMU with DEFINITION: opens its N disks that are files or devices, each as the
// descriptor DISK_FDS says; -1: it is opened by QEMU.
void hv_launcher_wrap_qemu(GPtrArray *argv, const HvLauncher *launcher, const int *fds,
                           size_t n_fds, const HvDefinition *definition, const int *disk_fds);
// Whether LAUNCHER's user may use userfaultfd, by the system call or, DEVICE, by /dev/userfaultfd.
bool hv_launcher_try_userfault(const HvLauncher *launcher, bool device);
