// SPDX-License-Identifier: GPL-2.0-or-later
// Carries bytes both ways between two stream sockets, in the main loop, with a bounded buffer each
// way.
#pragma once

#include <glib.h>

typedef struct ApiShuttle ApiShuttle;

// CLIENT and CONSOLE are borrowed and made non-blocking. EXTRA (copied) came from the client
// already. ENDED is called once, from the main loop, when the client has gone or when the console
// has and all it said is with the client; it may free the shuttle.
ApiShuttle *api_shuttle_new(int client, int console, const char *extra, gsize extra_size,
                            void (*ended)(gpointer data), gpointer data);
// After that ENDED is not called any more.
void api_shuttle_free(ApiShuttle *shuttle);
