// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <jansson.h>

// The table of nodes, the API's array.
void node_print_table(json_t *nodes);
