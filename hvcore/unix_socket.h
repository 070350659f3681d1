// SPDX-License-Identifier: GPL-2.0-or-later
// Unix stream sockets by path. Both return a descriptor (close-on-exec, connect: non-blocking) or
// -1. Any thread.
#pragma once

#include "hvcore/error.h"

int hv_unix_connect(const char *path, GError **error); // HV_ERROR_CLOSED
int hv_unix_listen(const char *path, GError **error);  // replaces what is at PATH; HV_ERROR_START
