// SPDX-License-Identifier: GPL-2.0-or-later
// One schedule, from a cluster that starts to the last look of the judge.
#pragma once

#include "tests/sim/world.h"

SimEnd sim_schedule(uint64_t seed, bool tracing);
const char *sim_schedule_why(void); // the violation, or ""
const char *sim_end_text(SimEnd end);
