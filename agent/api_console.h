// SPDX-License-Identifier: GPL-2.0-or-later
// GET /v1/vms/NAME/console: the connection becomes a VM's serial console.
#pragma once

#include "agent/http_request.h"

void api_get_console(HttpRequest *request, const char *name);
// Closes all consoles. The server goes next.
void api_console_close_all(AgentHttp *http);
