// SPDX-License-Identifier: GPL-2.0-or-later
// A stop by the agent keeps the guest's memory where the definition says so. Without the agent the
// guest is powered off; that loses its memory, but a stop that fails would have the whole node
// fenced. "Stopped" is only ever said with proof.
#include "resource-agents/actions.h"

#include "hvcore/filesystem.h"
#include "hvcore/vm.h"
#include "resource-agents/client.h"
#include "resource-agents/ocf.h"

static bool wants_grace(const Operation *operation)
{
    g_autoptr(HvDefinition) definition =
        hv_vm_recorded(operation->run_dir, operation->vm, NULL, NULL);
    return definition == NULL || definition->on_stop != HV_ON_STOP_POWEROFF;
}

// Before another node may mount it.
static int give_back(const Operation *operation)
{
    g_autoptr(GError) error = NULL;
    if (hv_filesystems_release(operation->vm, &error))
        return OCF_SUCCESS;
    operation_reason("%s", error->message);
    return OCF_ERR_GENERIC;
}

static int end_process(const Operation *operation, const char *agent_says)
{
    g_autoptr(GError) error = NULL;
    HvProcessState state = hv_process_look(operation->run_dir, operation->vm, 0, NULL, &error);
    if (state == HV_PROCESS_GONE)
        return give_back(operation);
    unsigned left_ms = operation_left_ms(operation->deadline_us - (gint64)STOP_ANSWER_MS * 1000);
    unsigned kill_ms = MIN(STOP_KILL_MS, left_ms / 2);
    unsigned grace_ms = wants_grace(operation) ? left_ms - kill_ms : 0;
    if (state == HV_PROCESS_ALIVE &&
        hv_process_end(operation->run_dir, operation->vm, grace_ms, kill_ms, &error))
        return give_back(operation);
    operation_reason("%s; and without it the VM is not proven stopped: %s", agent_says,
                     error != NULL ? error->message : "no reason given");
    return OCF_ERR_GENERIC;
}

// What end_process gets of LEFT_US: a vmferryd that hangs does not get the node fenced.
static gint64 end_us(gint64 left_us)
{
    gint64 least_us = MIN(left_us / 2, (gint64)OPERATION_MARGIN_MS * 1000);
    return CLAMP(left_us / 4, least_us, (gint64)STOP_END_MS * 1000);
}

int action_stop(const Operation *operation)
{
    int ocf = OCF_ERR_GENERIC;
    g_autofree char *message = NULL;
    Operation asked = *operation; // borrows
    gint64 left_us = operation->deadline_us - g_get_monotonic_time();
    gint64 patience_us = MIN(left_us / 2, (gint64)STOP_AGENT_WAIT_MS * 1000);
    asked.end_us = operation->deadline_us - end_us(left_us);
    if (client_insist(&asked, patience_us, asked.end_us, &ocf, &message) != CLIENT_ANSWERED)
        return end_process(operation, message);
    if (ocf != OCF_SUCCESS)
        operation_reason("%s", message);
    return ocf;
}
