// SPDX-License-Identifier: GPL-2.0-or-later
// Bounds of a VM's logs: they lie in memory (/run), and a guest can write to its console for ever.
// Internal to hvcore.
#pragma once

#include <stdint.h>

enum { HV_LOG_MAX = 16 * 1024 * 1024, HV_LOG_CHECK_SECONDS = 60 };

// Empties qemu.log and console.log in VM_DIR where they are longer than MAX bytes. Their writers
// append, so they go on at the new end.
void hv_logs_bound(const char *vm_dir, uint64_t max);
// Moves the logs of the start before to *.old.
void hv_logs_rotate(const char *vm_dir);
