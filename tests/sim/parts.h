// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "hvcore/definition.h"

void sim_definition_set(HvOnStop on_stop, HvRestore restore); // of the one VM
void sim_count_event(const char *type);
