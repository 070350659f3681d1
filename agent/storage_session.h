// SPDX-License-Identifier: GPL-2.0-or-later
// The node's iSCSI sessions, as the kernel has them. Internal to agent/storage*.c; any thread.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char *id; // "session3"
    char *target;
    char *portal; // "host:port" as it was asked for, an IPv6 address in brackets
    char *state;  // the kernel's: "LOGGED_IN", "FAILED", "FREE"
} StorageSession;

// Those with TARGET; an array of StorageSession that frees them.
GPtrArray *storage_sessions(const char *target);
const StorageSession *storage_session_find(const GPtrArray *sessions, const char *portal);
bool storage_session_is_up(const StorageSession *session);
// The kernel names of all its LUNs' block devices. Free with g_strfreev.
char **storage_session_disks(const StorageSession *session);
// The kernel name of the LUN's block device; NULL where the session has none. The caller frees it.
char *storage_session_disk(const StorageSession *session, uint32_t lun);
