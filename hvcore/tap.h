// SPDX-License-Identifier: GPL-2.0-or-later
// Tap interfaces on a bridge. A tap lives as long as somebody holds its descriptor, so it goes with
// QEMU and needs no cleaning up. Internal to hvcore.
#pragma once

#include "hvcore/error.h"

typedef enum { HV_BRIDGE_MISSING, HV_BRIDGE_OTHER, HV_BRIDGE_OK } HvBridge;
// What the interface NAME is in this thread's network namespace.
HvBridge hv_bridge_look(const char *name);

// "vf" + 8 hex digits of the VM's uuid + "-" + INDEX: 15 characters at most. Caller frees.
char *hv_tap_name(const char *uuid, size_t index);
// Creates the tap, up and on BRIDGE, with virtio headers. Returns its descriptor, or -1
// (HV_ERROR_RESOURCE).
int hv_tap_open(const char *name, const char *bridge, const char *guest_mac, GError **error);
