// SPDX-License-Identifier: GPL-2.0-or-later
// Whether a recorded process is there, proven by pidfd. Internal to hvcore.
#pragma once

#include "hvcore/process_file.h"
#include "hvcore/vm.h"

// Start time of PID in clock ticks since boot. ESRCH/ENOENT: false with HV_ERROR_NOT_RUNNING.
bool hv_process_start_time(pid_t pid, uint64_t *ticks, GError **error);
// The user that PID runs as. False where there is no such process.
bool hv_process_owner(pid_t pid, uid_t *owner);
// For the process that FILE records: HV_PROCESS_ALIVE and *PIDFD is its pidfd (caller closes);
// HV_PROCESS_GONE: proof, also where only a zombie is left; HV_PROCESS_UNKNOWN sets ERROR.
HvProcessState hv_process_find(const HvProcessFile *file, int *pidfd, GError **error);
// Reads NAME's process.json, then the same. *FILE is filled in where it could be read.
HvProcessState hv_process_find_name(const char *run_dir, const char *name, HvProcessFile *file,
                                    int *pidfd, GError **error);
// Gives the processes of PID's group the lowest priority. Best effort.
void hv_process_last(pid_t pid);
bool hv_process_kill(int pidfd, GError **error);
// Waits, blocking, until the process is gone.
bool hv_process_wait_gone(int pidfd, unsigned deadline_ms);
