// SPDX-License-Identifier: GPL-2.0-or-later
// Whether a process still waits for pages of its memory that others send. Internal to hvcore.
#pragma once

#include <stdbool.h>
#include <sys/types.h>

// True: proven that PID, the living process of PIDFD, has no userfaultfd open.
bool hv_userfault_closed(pid_t pid, int pidfd);
