// SPDX-License-Identifier: GPL-2.0-or-later
// Whether KVM runs a guest here. Internal to hvcore.
#pragma once

#include <stdbool.h>

// Runs a boot sector under `-accel kvm`, 3 s at most. *REASON says what came of it (caller frees).
bool hv_node_try_kvm(const char *qemu_path, char **reason);
// The same guest under ACCELERATOR ("tcg": to try the probe itself), without a look at /dev/kvm.
bool hv_node_try_guest(const char *qemu_path, const char *accelerator, char **reason);
