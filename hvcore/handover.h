// SPDX-License-Identifier: GPL-2.0-or-later
// The descriptors that QEMU gets from vmferryd. Its sockets listen before it runs, so that nothing
// has to be polled for. Internal to hvcore.
#pragma once

#include "hvcore/definition_private.h"
#include "hvcore/vm.h"

enum { HV_HANDOVER_MAX = 7 + HV_MAX_NICS };

typedef struct {
    int fds[HV_HANDOVER_MAX]; // all of them, which are closed with it
    size_t n;
    int log; // QEMU's output; not in fds
    // In fds, or -1.
    int qmp, qmp_aux, console, console_log, guest_agent;
    int rescue[2]; // hvcore/rescue.h
    int taps[HV_MAX_NICS];
    int disks[HV_MAX_DISKS]; // numbers that QEMU will have them as, nothing of vmferryd's; or -1
} HvHandover;

// Makes RUN_DIR/NAME/, too. HV_ERROR_START, HV_ERROR_RESOURCE.
bool hv_handover_open(HvHandover *handover, const HvDefinition *definition, HvLaunchMode mode,
                      const char *run_dir, const HvUser *user, GError **error);
void hv_handover_clear(HvHandover *handover);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HvHandover, hv_handover_clear)
#define HV_HANDOVER_INIT                                                                           \
    {                                                                                              \
        .log = -1                                                                                  \
    }
