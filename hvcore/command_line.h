// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's command line for a VM: a pure function. The same definition gives the same devices at the
// same PCI addresses on every node and in every QEMU release, which saved memory depends on.
// Internal to hvcore.
#pragma once

#include "hvcore/vm.h"

typedef struct {
    const HvDefinition *definition;
    const HvNode *node;
    HvLaunchMode mode;
    int qmp_fd, qmp_aux_fd;         // listening unix sockets
    int rescue_fd;                  // connected, hvcore/rescue.h; -1: none
    int console_fd, console_log_fd; // listening unix socket; file, write-only; -1: no serial port
    int guest_agent_fd;             // listening unix socket; -1: no port for the guest agent
    const int *tap_fds;             // one for each NIC
    const int *disk_fds;            // one for each disk; -1: QEMU reaches it itself
} HvCommandLineInput;

// NULL-terminated, owns its strings.
GPtrArray *hv_command_line(const HvCommandLineInput *input);
// Whether RAM has a little more than DEFINITION says, so that QEMU takes its dirty bitmap page by page.
bool hv_command_line_has_extra(const char *accelerator, const HvDefinition *definition);
