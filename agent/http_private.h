// SPDX-License-Identifier: GPL-2.0-or-later
// The server's state, private to http*.c and api*.c.
#pragma once

#include "agent/http.h"

#include <microhttpd.h>

struct AgentHttp {
    Agent *agent;
    char *token;       // NULL: nothing listens on TCP
    char *socket_path; // the unix socket, to remove at the end
    GPtrArray *doors;  // HttpDoor
    GList *waiting;    // HttpRequest: suspended until the agent replies
    GList *streams;    // ApiStream (api_events.c)
    GList *consoles;   // ApiConsole (api_console.c)
    bool ending;
};

// One listening socket.
typedef struct {
    AgentHttp *http;
    struct MHD_Daemon *daemon;
    GSource *source;
    bool local; // the unix socket: its mode says who may, no token is asked for
} HttpDoor;
