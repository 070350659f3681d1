// SPDX-License-Identifier: GPL-2.0-or-later
// A VM's storage on this node: made available, checked, given back (docs/STORAGE.md). Nothing here
// knows the agent. All functions block, for minutes where storage does not answer: agent/worker.h's
// threads only. Errors are HV_ERROR_RESOURCE ("it is not so": the message names the storage and the
// remedy) or HV_ERROR_UNKNOWN.
#pragma once

#include "hvcore/definition.h"

#include <jansson.h>

// Logs in, activates, waits for devices, compares what is there with the recorded identity, and
// makes the links that the definition's paths are. What is available already stays as it is; sizes
// are read anew. Exclusive file systems are not mounted, and on other mounts of their devices it
// says no. NEEDS_IDENTITY: every device has to have a recorded WWID, as before a VM runs.
bool storage_make_available(const HvDefinition *definition, bool needs_identity, GError **error);
// The same of the storage that the state area is on alone.
bool storage_make_area_available(const HvDefinition *definition, GError **error);
// The definition with the WWIDs and sizes that are missing in it, which has to be available. Where
// BEFORE (may be NULL) has the same storage, its identity is kept: another LUN in its place is
// refused later. New reference.
HvDefinition *storage_identify(const HvDefinition *definition, const HvDefinition *before,
                               GError **error);

// Mounts the file systems that only the owner mounts; the rest is available.
bool storage_mount(const HvDefinition *definition, GError **error);
// Unmounts what is mounted of VM, and deactivates the LVs of DEFINITION (may be NULL) where nothing
// uses them. False: something stays mounted, and the VM must not be called stopped.
bool storage_give_back(const char *vm, const HvDefinition *definition, GError **error);

// Logs out of what only this VM uses on this node. It must not run here.
bool storage_log_out(const HvDefinition *definition, GError **error);

// [{"name", "type", "state": "ready"|"degraded"|"failed"|"absent", "device", "wwid", "size_mib",
// "mounted",
//   "paths": [{"name", "portal", "state"}], "problem"}]: each entry as it is now; changes nothing.
//   New
// reference.
json_t *storage_report(const HvDefinition *definition);
