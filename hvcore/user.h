// SPDX-License-Identifier: GPL-2.0-or-later
// The user that QEMU runs as.
#pragma once

#include "hvcore/error.h"
#include <sys/types.h>

typedef struct {
    char *name;
    uid_t uid;
    gid_t gid;
    char *ids; // UID:GID[:GID...] with the supplementary groups, as vmferry-launch takes it
} HvUser;

// Looks NAME up, once: a VM's start must not wait for a directory service. HV_ERROR_START: there is
// none.
HvUser *hv_user_find(const char *name, GError **error);
HvUser *hv_user_ref(HvUser *user); // NULL stays NULL
void hv_user_unref(HvUser *user);  // NULL is allowed
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HvUser, hv_user_unref)
