// SPDX-License-Identifier: GPL-2.0-or-later
// LUNs through the node's own initiator, by open-iscsi. Internal to agent/storage*.c; blocking, on
// any thread.
#pragma once

#include "agent/storage_device.h"

// Logs in to every portal that has no session yet and finds the LUN. At least one portal has to
// answer, in time where all sessions have lost their connection; DOWN (owned by the caller, may be
// NULL) is why others do not, or NULL. On failure nothing is left behind: what was logged in for it
// is logged out again. HV_ERROR_RESOURCE names the portal and the remedy.
bool storage_iscsi_open(const HvStorage *storage, StorageDevice *device, char **down,
                        GError **error);
// Ends the sessions to STORAGE's portals and forgets the node records that were made for them.
// HV_ERROR_RESOURCE: a LUN of the target is in use on this node; nothing was ended.
bool storage_iscsi_close(const HvStorage *storage, GError **error);

// What iscsiadm's exit code means and what is to be done about it (static text); for any number.
const char *storage_iscsi_problem(int status);
