// SPDX-License-Identifier: GPL-2.0-or-later
// Which descriptors QEMU gets.
#pragma once

#include "hvcore/error.h"
#include <stdbool.h>

typedef GArray LaunchFds; // ints that stay open, besides 0 to 2

// Adds the numbers of TEXT, "5,6,7". HV_ERROR_START.
bool launch_keep(LaunchFds *fds, const char *text, GError **error);
// Opens what TEXT, NUMBER:ro|rw:PATH, says, as NUMBER, and adds it. HV_ERROR_START names the path.
bool launch_open(LaunchFds *fds, const char *text, GError **error);
// Closes all others. HV_ERROR_START.
bool launch_close_others(LaunchFds *fds, GError **error);
