// SPDX-License-Identifier: GPL-2.0-or-later
// The faults of a schedule: which, where, and after how many steps.
#pragma once

#include "tests/sim/world.h"

void sim_faults_plan(void);   // by chance, from the seed
void sim_faults_look(void);   // after each step
void sim_faults_moving(void); // a move begins: faults in it count their steps from now on
void sim_faults_heal(void);   // everything works again
// Whether the next thing of this kind is to fail; once.
bool sim_fault_now(SimFault fault);
const char *sim_fault_name(SimFault fault);
bool sim_fault_is_hard(SimFault fault);
