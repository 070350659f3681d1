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
typedef enum {
    HV_STORAGE_ISCSI,      // a LUN through the node's own initiator (open-iscsi)
    HV_STORAGE_LUN,        // any SCSI LUN that the node sees: FC, SAS, iSCSI logged in by others
    HV_STORAGE_LV,         // an LVM logical volume on a shared volume group
    HV_STORAGE_DIRECTORY,  // a shared directory, mounted on every node
    HV_STORAGE_FILESYSTEM, // a file system that only the VM's owner mounts
} HvStorageType;

enum { HV_HUGEPAGE_MIB = 2 };
enum { HV_ISCSI_PROBE_MS = 5000 }; // for each LUN, in hv_definition_check_node

// What the VM's disks and state area lie on, named by what it is. Which device that is on this node the
// agent finds out (agent/storage.h); the path is the same on all nodes.
typedef struct {
    char *name; // [A-Za-z][A-Za-z0-9_-]{0,19}
    HvStorageType type;
    char *path; // block: the agent's link to the device; else: the directory, where it is mounted
    bool own_path;    // the definition gives PATH itself
    char **portals;   // iscsi: "host:port", NULL-terminated
    char *target;     // iscsi: its name
    uint32_t lun;     // iscsi
    char *chap_user;  // iscsi, NULL where there is none
    char *chap_secret_file; // iscsi: absolute path, or the name of a systemd credential
    char *wwid; // block: as hv_wwid_normalize has it; NULL until `vmferry define` has seen the device
    uint64_t size_mib; // block: what it has at least, 0 = not known yet
    char *vg, *lv;     // lv
    char *source;      // directory: what has to be mounted there, NULL = anything
    char *on;          // filesystem: the name of the block storage that it is on
    char *fstype;      // filesystem
    char *options;     // filesystem: as for mount -o, NULL = none
} HvStorage;

typedef struct {
    char *id; // "disk0" where the definition names none
    HvDiskType type;
    char *path;   // absolute path, or the iscsi:// URL
    char *storage; // the name of the HvStorage that it is on, or NULL
    char *inside;  // its path within that where it is a directory or file system, else NULL
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
    HvStorage *storage;
    size_t n_storage;
    HvDisk *disks;
    size_t n_disks;
    HvNic *nics;
    size_t n_nics;
    HvSerial serial;
    bool guest_agent; // a port for the QEMU guest agent, by which its clock is set after a stop
    char *kernel, *initrd, *cmdline; // direct boot; NULL where not used
    HvOnStop on_stop;
    HvRestore restore; // whether the guest runs while its pages follow
    char *state_area;         // absolute path of a file in a shared directory, or of a block device
    char *state_storage, *state_inside; // as a disk's storage and inside
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

// The entry of that name; NULL where there is none. Borrowed.
const HvStorage *hv_definition_storage(const HvDefinition *definition, const char *name);
bool hv_storage_is_block(const HvStorage *storage);
const char *hv_storage_type_name(HvStorageType type);
// Whether it has a file system that only its owner mounts. Such a VM is not moved while it runs.
bool hv_definition_is_exclusive(const HvDefinition *definition);
// A new definition with the identity of the storage NAME filled in: WWID (taken as it is) and SIZE_MIB.
HvDefinition *hv_definition_identify(const HvDefinition *definition, const char *name,
                                     const char *wwid, uint64_t size_mib, GError **error);

// Canonical JSON: sorted keys, no white space, defaults filled in. The caller frees it.
char *hv_definition_to_json(const HvDefinition *definition);
// SHA-256 of the canonical JSON as 64 hex digits; the caller frees it.
char *hv_definition_digest(const HvDefinition *definition);

typedef struct {
    const char *accelerator; // that the node has: HvNode's; NULL = not known, not checked
    bool has_memory; // the VM may have its memory here already: not all of it has to be free
    bool unmounted;  // file systems that only the owner mounts are not mounted here
} HvNodeCheck;

// Whether everything the definition names is there and usable on this node: disks, bridges,
// kernel, firmware, the memory free. Reads only; blocks, up to 5 s for each iscsi disk. Any thread.
// HV_ERROR_RESOURCE names the thing and the remedy.
bool hv_definition_check_node(const HvDefinition *definition, const HvNodeCheck *check,
                              GError **error);

// The keys (top level, "; "-separated) in which NEXT differs from RUNNING and that cannot be
// applied to a running guest; NULL where there are none. The caller frees it.
char *hv_definition_pending(const HvDefinition *running, const HvDefinition *next);
