// SPDX-License-Identifier: GPL-2.0-or-later
// Runs a program to its end, bounded in time and output. Blocking. Internal to hvcore.
#pragma once

#include "hvcore/error.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct {
    char *output; // stdout and stderr, 64 KiB at most, valid UTF-8
    int status;   // as from waitpid
} HvRunResult;

// The program is killed when DEADLINE_MS pass (HV_ERROR_TIMEOUT). HV_ERROR_START: cannot be run.
bool hv_run(char *const *argv, const int *fds, size_t n_fds, unsigned deadline_ms,
            HvRunResult *result, GError **error);
void hv_run_result_clear(HvRunResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HvRunResult, hv_run_result_clear)

// Waits until FD is readable (or EVENTS otherwise) or the monotonic time END_US; false: not.
bool hv_wait_fd(int fd, short events, gint64 end_us);
