// SPDX-License-Identifier: GPL-2.0-or-later
// Follows a long operation of the cluster to its end.
#pragma once

#include "migrate/command/client.h"

enum { JOB_UNREACHABLE_MS = 60 * 1000 }; // a node that was fenced is back by then, or never

// REPLY (borrowed) is the answer to the request that began the job: {"job":"n1-7",...}. Follows it
// and prints what came of it; or, with --no-wait, prints its id. False with ERROR where the job
// failed (its object is printed all the same with --json) or was lost sight of.
bool job_follow(Client *client, const Options *options, json_t *reply, GError **error);
