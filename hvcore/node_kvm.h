// SPDX-License-Identifier: GPL-2.0-or-later
// Whether KVM runs a guest here. Internal to hvcore.
#pragma once

#include "hvcore/launcher.h"
#include <stdbool.h>

enum { HV_NODE_TCG_MS = 3000, HV_NODE_KVM_MS = 1000 }; // the latter, or three times what TCG took

// Runs a boot sector under TCG and then under KVM, which must not take longer than three times as
// long (or 1 s). *REASON says what came of it (caller frees). Blocks, some 10 s at most.
bool hv_node_try_kvm(const HvLauncher *launcher, const char *qemu_path, char **reason);
// /dev/kvm is there and opens; if not, *REASON says why (caller frees).
bool hv_node_kvm_opens(char **reason);
// The guest under ACCELERATOR, without a look at /dev/kvm.
bool hv_node_try_guest(const HvLauncher *launcher, const char *qemu_path, const char *accelerator,
                       unsigned deadline_ms, char **reason);
