// SPDX-License-Identifier: GPL-2.0-or-later
// The agent's error domain. The API maps each code to one HTTP status (docs/API.md).
#pragma once

#include <glib.h>

#define AGENT_ERROR (agent_error_quark())
GQuark agent_error_quark(void);

typedef enum {
    AGENT_ERROR_INVALID,      // 400: the request or the definition is not acceptable
    AGENT_ERROR_UNAUTHORIZED, // 401
    AGENT_ERROR_NOT_FOUND,    // 404: no such VM, node, job
    AGENT_ERROR_CONFLICT,     // 409: there is one already, or it is busy or in the wrong state
    AGENT_ERROR_REFUSED,      // 422: a rehearsal or check said no; nothing was touched
    AGENT_ERROR_FAILED,       // 500: it was tried and failed; the message says what is left
    AGENT_ERROR_UNAVAILABLE,  // 503: no quorum, Pacemaker or the other node cannot be reached
    AGENT_ERROR_TIMEOUT,      // 504
    AGENT_ERROR_NOT_JOINED,   // 503: this node has no part in the cluster now; nothing was touched
} AgentErrorCode;
