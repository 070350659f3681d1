// SPDX-License-Identifier: GPL-2.0-or-later
// What all schedules of a run have met, added up in memory that the processes of a run share.
#pragma once

#include "tests/sim/world.h"

enum { SIM_PHASES = 16 };

typedef struct {
    uint64_t schedules, steps, violations;
    uint64_t ends[SIM_N_ENDS];
    uint64_t faults[SIM_N_FAULTS][SIM_PHASES];
    uint64_t none, one, more; // schedules with so many faults
    uint64_t moves, given_up, cold, restored, taken_back, fenced, resumptions;
} SimReport;

extern SimReport *sim_report; // of this process
void sim_report_fault(SimFault fault);
void sim_report_schedule(SimEnd end);
void sim_report_add(SimReport *sum, const SimReport *other);
void sim_report_print(const SimReport *report, double seconds, unsigned jobs);
