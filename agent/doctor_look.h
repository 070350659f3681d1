// SPDX-License-Identifier: GPL-2.0-or-later
// What one node looks at for `vmferry doctor`, a function for each section of its facts. They
// block, on a thread of agent/doctor_tasks.h, and change nothing. Each returns a new object;
// {"problem": TEXT} where it could not look.
#pragma once

#include "hvcore/definition.h"

#include <glib.h>
#include <jansson.h>
#include <sys/types.h>

// What a look needs to know, all of it its own.
typedef struct {
    json_t *known; // what vmferryd knows of its node already; becomes part of "host"
    char *qemu;    // QEMU's binary
    char **nodes;  // of the cluster
    HvDefinition *definition;
    char *accelerator;
    GPid pid; // of the VM's QEMU on this node, or 0
} DoctorLook;

void doctor_look_free(gpointer look);

// KNOWN, "booted_us" (since 1970), "cpu_flags" and "machines" (words).
json_t *doctor_look_host(gpointer look);
// {"reached": {NODE: [DEVICE]}}: by this node's fencer; null for a node that it did not tell of.
json_t *doctor_look_fencing(gpointer look);
// {"output": what crm_verify complains about, "" for nothing}
json_t *doctor_look_crm_verify(gpointer look);
// {"sessions": [{"target", "state", "recovery_tmo"}]}
json_t *doctor_look_iscsi(gpointer look);
// {"maps": [{"name", "queueing", "paths", "down"}], "reservation_key": bool (where there are maps)}
json_t *doctor_look_multipath(gpointer look);
// {"running", "device" (or null), "watchdog_device", "watchdog": bool, "watchdog_identity",
//  "watchdog_timeout_s", "lun_watchdog_s", "lun_msgwait_s"}
json_t *doctor_look_sbd(gpointer look);
// {"files": [{"role", "path", "shared": whether it has to be the same everywhere, "class":
//  block|local|network|memory, "fs", "device", "inode", "blocks", "wwid"}], and where there are
//  such: "cannot_run", "area_problem", "record", "unsafe_cache", "storage": as storage_report}. What has
// to be made available first is not made available, and then nothing is said of what lies on it.
json_t *doctor_look_vm(gpointer look);

// Put before /sys, /proc, /etc and /dev: "" but in tests.
extern const char *doctor_root;

// Internal to agent/doctor_look_*.c.
json_t *doctor_problem(const char *format, ...) G_GNUC_PRINTF(1, 2);
// Runs ARGV[0], of PATH or the usual sbin, for SECONDS at most. False with the reason where it did
// not run to its end; else OUTPUT (stdout, then stderr; the caller frees) and its exit STATUS.
bool doctor_tool(const char *const *argv, unsigned seconds, char **output, int *status,
                 GError **error);
// The file at PATH (below doctor_root); NULL where there is none. The caller frees.
char *doctor_file(const char *path);
char *doctor_line(const char *path); // its first line, without white space at the ends
GDir *doctor_dir(const char *path);
// What a block device is called by itself, whichever node sees it and by how many paths; NULL where
// it has no such name. The caller frees.
char *doctor_wwid(dev_t device);
