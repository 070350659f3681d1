// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's third monitor, for a lazy load that lost its pager. Capabilities can only be negotiated while
// QEMU's main loop works, but that loop may wait for a page that comes only after a command. So this
// monitor is one end of a socket pair, negotiated when QEMU starts, and QEMU itself holds the other
// end open without knowing: whoever needs it, also a vmferryd that was started again, takes a copy out
// of the process (pidfd_getfd). Internal to hvcore.
#pragma once

#include "hvcore/error.h"
#include <stdbool.h>

enum { HV_RESCUE_MONITOR, HV_RESCUE_HELD };

// ENDS[HV_RESCUE_MONITOR] is for QEMU's monitor, ENDS[HV_RESCUE_HELD] for QEMU to hold; QEMU's first
// input is in it already. Close-on-exec. HV_ERROR_START.
bool hv_rescue_open(int ends[2], GError **error);
// A copy of the descriptor that the process of PIDFD has as NUMBER. HV_ERROR_CLOSED.
int hv_rescue_take(int pidfd, int number, GError **error);
// Ends that monitor, so that no events pile up in a socket that nobody reads.
void hv_rescue_end(int pidfd, int number);
