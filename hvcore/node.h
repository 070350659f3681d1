// SPDX-License-Identifier: GPL-2.0-or-later
// What this node can do as a hypervisor.
#pragma once

#include "hvcore/error.h"
#include <stdbool.h>
#include <stdint.h>

enum { HV_NODE_VERSION_MS = 2000 }; // for qemu --version

typedef struct {
    char *qemu_path;
    char *qemu_version;       // "7.2.22"
    char *accelerator;        // "kvm" or "tcg"
    char *accelerator_reason; // why: "kvm ran a test guest", "/dev/kvm: No such file or directory"
    bool userfaultfd;         // a lazy restore is possible for QEMU's user
    uint64_t memory_mib;      // of the machine
    uint32_t cpus;
} HvNode;

// Probes QEMU and the accelerator by running them (some 10 s at most, blocking); QEMU is the binary at
// PATH, or the first qemu-system-x86_64 found where PATH is NULL. The caller frees.
HvNode *hv_node_probe(const char *path, GError **error);
void hv_node_free(HvNode *node);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HvNode, hv_node_free)

// MemAvailable, in MiB.
bool hv_node_memory_available(uint64_t *mib, GError **error);
