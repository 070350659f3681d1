// SPDX-License-Identifier: GPL-2.0-or-later
// Is the VM active on this node? The agent knows; while it is down, the process itself is looked
// at, so that a restart of vmferryd is never taken for a failure of its VMs.
#include "resource-agents/actions.h"

#include "hvcore/filesystem.h"
#include "hvcore/vm.h"
#include "resource-agents/client.h"
#include "resource-agents/ocf.h"

// A QEMU that is there counts as the VM running, a paused or silent one too: to end it would cost
// its guest's memory. Except where its guest certainly does not run:
static int from_run_state(const Operation *operation, HvRunState state)
{
    switch (state) {
    case HV_RUN_INMIGRATE:
        // The target of a move that is not loaded yet, as the agent has it: the VM is the source's.
        // Anything else would look to Pacemaker like two running copies, and it would stop both.
        return OCF_NOT_RUNNING;
    case HV_RUN_PRELAUNCH: // a start that nobody went on with
    case HV_RUN_SHUTDOWN:  // the guest is off, its QEMU still holds the disks
    case HV_RUN_ERROR:
        // Not "not running", or Pacemaker would start it elsewhere without a stop here.
        operation_reason("%s: vmferryd is down and the VM's QEMU is in the state \"%s\"",
                         operation->vm, hv_run_state_name(state));
        return OCF_ERR_GENERIC;
    default:
        return OCF_SUCCESS;
    }
}

static int look(const Operation *operation)
{
    g_autoptr(GError) error = NULL;
    HvRunState state = HV_RUN_UNKNOWN;
    unsigned deadline_ms = MIN(MONITOR_LOOK_MS, operation_left_ms(operation->deadline_us) / 2);
    switch (hv_process_look(operation->run_dir, operation->vm, deadline_ms, &state, &error)) {
    case HV_PROCESS_GONE:
        if (!hv_filesystems_held(operation->vm))
            return OCF_NOT_RUNNING;
        operation_reason("%s: its QEMU is gone, but its file system is still mounted here",
                         operation->vm);
        return OCF_ERR_GENERIC;
    case HV_PROCESS_ALIVE:
        return from_run_state(operation, state);
    case HV_PROCESS_UNKNOWN:
        break;
    }
    operation_reason("%s: vmferryd is down and it cannot be told whether the VM runs: %s",
                     operation->vm, error != NULL ? error->message : "no reason given");
    return OCF_ERR_GENERIC;
}

int action_monitor(const Operation *operation)
{
    int ocf = OCF_ERR_GENERIC;
    g_autofree char *message = NULL;
    if (client_ask(operation, &ocf, &message) != CLIENT_ANSWERED)
        return look(operation);
    if (ocf != OCF_SUCCESS && ocf != OCF_NOT_RUNNING)
        operation_reason("%s", message);
    return ocf;
}
