// SPDX-License-Identifier: GPL-2.0-or-later
// The way to vmferryd: RUN_DIR/ra.sock (agent/ra_socket.h). Blocking, without a main loop.
#pragma once

#include "resource-agents/operation.h"

// The agent gives up before we do, so that its reason is what is told.
enum { CLIENT_HEAD_START_MS = 1000 };

typedef enum {
    CLIENT_ANSWERED,
    CLIENT_DOWN,   // nobody listens
    CLIENT_LOST,   // the connection broke before the answer
    CLIENT_SILENT, // OPERATION's end came without an answer
} ClientResult;

// Asks once and waits for the answer until OPERATION's end. CLIENT_ANSWERED: *OCF is the exit code
// and *MESSAGE (may be "") the reason; else *MESSAGE says what is wrong. The caller frees it.
ClientResult client_ask(const Operation *operation, int *ocf, char **message);
// The same, again and again while vmferryd is down: it may be starting, and all its operations may
// be asked for twice. Gives up at UNTIL_US, or when it was down for PATIENCE_US at a stretch.
ClientResult client_insist(const Operation *operation, gint64 patience_us, gint64 until_us,
                           int *ocf, char **message);
