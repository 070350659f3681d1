// SPDX-License-Identifier: GPL-2.0-or-later
// What came of a job, in a line.
#pragma once

#include "migrate/command/options.h"

#include <jansson.h>

// Prints the finished JOB. False with ERROR where it failed.
bool job_end_report(json_t *job, const Options *options, GError **error);
// "n1 -> n2, blackout 12 ms, 3.4 s in all, 512 MiB written in 3 passes" from the result of a move
// (a job's, or a VM's last_move). The caller frees.
char *job_end_move(json_t *result);
