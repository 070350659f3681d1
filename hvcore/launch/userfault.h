// SPDX-License-Identifier: GPL-2.0-or-later
// Whether this process may have a userfaultfd that also covers the kernel's own accesses to its
// memory, as KVM makes them.
#pragma once

#include <stdbool.h>

// By the system call, which is all that QEMU knows before 8.0; DEVICE: or by /dev/userfaultfd.
bool launch_userfault(bool device);
