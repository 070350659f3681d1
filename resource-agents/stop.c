// SPDX-License-Identifier: GPL-2.0-or-later
// A stop by the agent keeps the guest's memory where the definition says so. Without the agent the
// guest is powered off; that loses its memory, but a stop that fails would have the whole node
// fenced. "Stopped" is only ever said with proof.
#include "resource-agents/actions.h"

#include "hvcore/vm.h"
#include "resource-agents/client.h"
#include "resource-agents/ocf.h"

enum {
    AGENT_WAIT_MS = 60000, // vmferryd.service restarts it within seconds
    END_MS = 30000,        // kept for ending QEMU ourselves
    KILL_MS = 20000,       // SIGKILL waits for I/O under way
    ANSWER_MS = 500,       // left for our own end
};

static bool wants_grace(const Operation *operation)
{
    g_autoptr(HvDefinition) definition =
        hv_vm_recorded(operation->run_dir, operation->vm, NULL, NULL);
    return definition == NULL || definition->on_stop != HV_ON_STOP_POWEROFF;
}

static int end_process(const Operation *operation, const char *agent_says)
{
    g_autoptr(GError) error = NULL;
    HvProcessState state = hv_process_look(operation->run_dir, operation->vm, 0, NULL, &error);
    if (state == HV_PROCESS_GONE)
        return OCF_SUCCESS;
    unsigned left_ms = operation_left_ms(operation->deadline_us - (gint64)ANSWER_MS * 1000);
    unsigned kill_ms = MIN(KILL_MS, left_ms / 2);
    unsigned grace_ms = wants_grace(operation) ? left_ms - kill_ms : 0;
    if (state == HV_PROCESS_ALIVE &&
        hv_process_end(operation->run_dir, operation->vm, grace_ms, kill_ms, &error))
        return OCF_SUCCESS;
    operation_reason("%s; and without it the VM is not proven stopped: %s", agent_says,
                     error != NULL ? error->message : "no reason given");
    return OCF_ERR_GENERIC;
}

int action_stop(const Operation *operation)
{
    int ocf = OCF_ERR_GENERIC;
    g_autofree char *message = NULL;
    gint64 half_us = (operation->deadline_us - g_get_monotonic_time()) / 2;
    gint64 patience_us = MIN(half_us, (gint64)AGENT_WAIT_MS * 1000);
    gint64 until_us = operation->deadline_us - MIN(half_us, (gint64)END_MS * 1000);
    if (client_insist(operation, patience_us, until_us, &ocf, &message) != CLIENT_ANSWERED)
        return end_process(operation, message);
    if (ocf != OCF_SUCCESS)
        operation_reason("%s", message);
    return ocf;
}
