// SPDX-License-Identifier: GPL-2.0-or-later
// What this node can do as a hypervisor.
#pragma once

#include "hvcore/user.h"
#include <stdbool.h>
#include <stdint.h>

// For qemu --version: a node that boots has everything else to read at the same time.
enum { HV_NODE_VERSION_MS = 20000 };

typedef struct {
    char *launcher; // vmferry-launch's path
    HvUser *user;   // who QEMU runs as; NULL: who vmferryd runs as
    char *qemu_path;
    char *qemu_version;       // "7.2.22"
    char *accelerator;        // "kvm" or "tcg"
    char *accelerator_reason; // why: "kvm ran a test guest", "/dev/kvm: No such file or directory"
    bool userfaultfd;         // a lazy restore is possible for QEMU's user
    uint64_t memory_mib;      // of the machine
    uint32_t cpus;
} HvNode;

typedef struct {
    const char *qemu;        // path; NULL: the first qemu-system-x86_64 found
    const char *launcher;    // path
    const char *user;        // "root": vmferryd's own
    const char *accelerator; // "kvm" or "tcg"; NULL: found out by trying
} HvNodeSetup;

// Probes QEMU and the accelerator by running them as that user (some 10 s at most, blocking). The
// caller frees.
HvNode *hv_node_probe(const HvNodeSetup *setup, GError **error);
void hv_node_free(HvNode *node);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HvNode, hv_node_free)

// MemAvailable, in MiB.
bool hv_node_memory_available(uint64_t *mib, GError **error);
