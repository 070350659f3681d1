// SPDX-License-Identifier: GPL-2.0-or-later
// A VM definition: what an admin writes as JSON (schema: config/vm-definition.schema.json).
// Immutable after parsing, reference counted; any thread may read one.
#pragma once

#include "hvcore/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { HV_ON_STOP_SAVE, HV_ON_STOP_SHUTDOWN, HV_ON_STOP_POWEROFF } HvOnStop;
typedef enum { HV_RESTORE_LAZY, HV_RESTORE_EAGER } HvRestore;
typedef enum { HV_CONVERGENCE_FORCE, HV_CONVERGENCE_ABORT } HvConvergence;
typedef enum { HV_DISK_FILE, HV_DISK_BLOCK, HV_DISK_ISCSI } HvDiskType;
typedef enum { HV_SERIAL_NONE, HV_SERIAL_CONSOLE } HvSerial;

enum { HV_HUGEPAGE_MIB = 2 };
enum { HV_ISCSI_PROBE_MS = 5000 }; // for each LUN, in hv_definition_check_node

typedef struct {
    char *id; // "disk0" where the definition names none
    HvDiskType type;
    char *path;   // absolute path, or the iscsi:// URL
    char *format; // "raw" or "qcow2"
    bool read_only;
} HvDisk;

typedef struct {
    char *id;     // "net0" where the definition names none
    char *bridge; // the node's bridge the tap joins
    char *mac;    // always set; derived from the VM's uuid where the definition names none
    char *model;  // QEMU device, "virtio-net-pci" by default
} HvNic;

typedef struct {
    uint32_t cpu_weight;     // cgroup v2 cpu.weight, 0 = not set
    uint32_t io_weight;      // cgroup v2 io.weight, 0 = not set
    uint64_t memory_max_mib; // cgroup v2 memory.max of the whole QEMU process, 0 = not set
} HvResources;

typedef struct HvDefinition {
    char *name; // [A-Za-z0-9][A-Za-z0-9_.-]{0,62}: also a Pacemaker resource id and a file name
    char *uuid; // lower case, 36 characters
    uint64_t memory_mib;
    bool hugepages; // its memory is made of the node's huge pages (HV_HUGEPAGE_MIB)
    uint32_t vcpus;
    char *cpu;      // QEMU cpu model
    char *machine;  // versioned: "pc-q35-7.2"; an alias such as "q35" is refused
    char *firmware; // "bios", or the absolute path of a firmware image
    HvDisk *disks;
    size_t n_disks;
    HvNic *nics;
    size_t n_nics;
    HvSerial serial;
    char *kernel, *initrd, *cmdline; // direct boot; NULL where not used
    HvOnStop on_stop;
    HvRestore restore; // whether the guest runs while its pages follow
    char *state_area;         // absolute path of a file in a shared directory, or of a block device
    uint32_t max_blackout_ms; // default 100
    HvConvergence convergence; // what becomes of a move whose rest does not get small enough
    uint32_t max_throttle_percent; // how much of its CPU time a save may take from the guest; 0 = none
    HvResources resources;
} HvDefinition;

// Parses and checks TEXT (UTF-8 JSON). An unknown key, a wrong type or value is HV_ERROR_DEFINITION
// and the message names the key's path ("disks[1].format: ..."). Touches no file. The caller owns
// the reference.
HvDefinition *hv_definition_parse(const char *text, GError **error);
HvDefinition *hv_definition_ref(const HvDefinition *definition);
void hv_definition_unref(HvDefinition *definition);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HvDefinition, hv_definition_unref)

// Canonical JSON: sorted keys, no white space, defaults filled in. The caller frees it.
char *hv_definition_to_json(const HvDefinition *definition);
// SHA-256 of the canonical JSON as 64 hex digits; the caller frees it.
char *hv_definition_digest(const HvDefinition *definition);

typedef struct {
    const char *accelerator; // that the node has: HvNode's; NULL = not known, not checked
    bool has_memory; // the VM may have its memory here already: not all of it has to be free
} HvNodeCheck;

// Whether everything the definition names is there and usable on this node: disks, bridges,
// kernel, firmware, the memory free. Reads only; blocks, up to 5 s for each iscsi disk. Any thread.
// HV_ERROR_RESOURCE names the thing and the remedy.
bool hv_definition_check_node(const HvDefinition *definition, const HvNodeCheck *check,
                              GError **error);

// The keys (top level, "; "-separated) in which NEXT differs from RUNNING and that cannot be
// applied to a running guest; NULL where there are none. The caller frees it.
char *hv_definition_pending(const HvDefinition *running, const HvDefinition *next);
