// SPDX-License-Identifier: GPL-2.0-or-later
// A VM's own cgroup, and its resource limits by cgroup v2. Internal to hvcore.
//
// Where systemd runs the node, QEMU is started through `systemd-run --scope`: the scope is a cgroup
// of its own, outside vmferryd's service. A sub-cgroup of the service would do as well until the
// service restarts: systemd cannot put a new main process into a cgroup whose controllers are
// enabled for children (EBUSY), and children with QEMUs in them stay.
//
// When the node is shut down, a scope is ended once Pacemaker has stopped, which has its VMs saved
// or shut down first, and before vmferryd and with it the storage goes.
#pragma once

#include "hvcore/definition.h"

#include <inttypes.h>

// Puts the words before ARGV's own that make it run in a scope. Returns NULL, or, with ARGV
// unchanged, why the limits of the definition are not applied (caller frees): without systemd QEMU
// stays in vmferryd's cgroup.
char *hv_resources_wrap(GPtrArray *argv, const HvDefinition *definition, bool systemd);
// Whether systemd manages this node.
bool hv_resources_have_systemd(void);
