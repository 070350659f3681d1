// SPDX-License-Identifier: GPL-2.0-or-later
// Becoming QEMU's user, for good.
#pragma once

#include "hvcore/error.h"
#include <stdbool.h>

// IDS is UID:GID[:GID...]. From then on this process has no capability, cannot get one by running a
// program either, and has no other group. HV_ERROR_START.
bool launch_become(const char *ids, GError **error);
