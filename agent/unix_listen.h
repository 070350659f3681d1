// SPDX-License-Identifier: GPL-2.0-or-later
// vmferryd's own unix sockets.
#pragma once

#include <glib.h>

// Listens on PATH; TYPE is SOCK_STREAM or SOCK_SEQPACKET. Not blocking, closed on exec, mode 0600
// from its first moment; takes the place of a socket that nobody answers on. -1 and
// AGENT_ERROR_CONFLICT where somebody does, else AGENT_ERROR_FAILED.
int agent_unix_listen(const char *path, int type, GError **error);
