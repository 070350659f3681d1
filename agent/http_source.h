// SPDX-License-Identifier: GPL-2.0-or-later
// Runs a libmicrohttpd daemon in the main loop.
#pragma once

#include <glib.h>
#include <microhttpd.h>

// DAEMON (borrowed, started with MHD_USE_EPOLL and without a thread) is run by the default main
// context until the source, which the caller owns, is destroyed.
GSource *http_source_new(struct MHD_Daemon *daemon);
// The daemon's epoll descriptor does not tell of connections that were resumed or whose upgrade
// ended: call this after each.
void http_source_run_soon(GSource *source);
