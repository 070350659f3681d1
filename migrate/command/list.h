// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <jansson.h>

// The table of VMs, the API's array.
void list_print(json_t *vms);
