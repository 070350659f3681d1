// SPDX-License-Identifier: GPL-2.0-or-later
// GET /v1/vms/NAME/console: the connection becomes a VM's serial console.
#pragma once

#include "agent/http_request.h"

// Without a sign of life of the client's machine; then the console is free for others. QEMU has one
// client at a time for it.
enum { API_CONSOLE_SILENCE_S = 30 };

void api_get_console(HttpRequest *request, const char *name);
// Closes all consoles. The server goes next.
void api_console_close_all(AgentHttp *http);
