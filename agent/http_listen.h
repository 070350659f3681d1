// SPDX-License-Identifier: GPL-2.0-or-later
// The API's listening sockets on TCP: not blocking, closed on exec.
#pragma once

#include <glib.h>

// ADDRESS: "10.77.0.11:7791" or "[fd00::1]:7791", never a name: nothing is looked up. An address
// that this node does not have yet is listened on all the same. -1 and AGENT_ERROR_INVALID (the
// address) or AGENT_ERROR_FAILED (somebody else has it).
int http_listen_tcp(const char *address, GError **error);
