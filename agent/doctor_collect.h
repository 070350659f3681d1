// SPDX-License-Identifier: GPL-2.0-or-later
// All that this node looks at for `vmferry doctor`: its sections (agent/doctor_look.h), as far as
// they come in time. Main-loop thread only.
#pragma once

#include "agent/agent.h"

enum { DOCTOR_COLLECT_MS = 9 * 1000 }; // what has not come then is unknown

// SECTIONS: {NAME: {...}}, borrowed.
typedef void (*DoctorCollected)(json_t *sections, gpointer data);

// DONE is called once, later: with what a look that is already under way finds, where there is one.
void doctor_collect(Agent *agent, DoctorCollected done, gpointer data);
