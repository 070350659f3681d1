// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/disk_wait.h"

#include "agent/events.h"
#include "agent/guest_time.h"
#include "agent/status.h"

enum { AGAIN_MS = 5 * 1000 };

static gboolean try_again(gpointer data);

static void wait_on(AgentVm *vm)
{
    vm->disk_timer = g_timeout_add(AGAIN_MS, try_again, vm);
}

// `vmferry show` has it as long as it is so.
// At once, and before the event: who has seen that finds the VM so on every node.
static void tell(AgentVm *vm, char *error)
{
    g_free(vm->last_error);
    vm->last_error = error;
    vm->last_error_ms = error != NULL ? g_get_real_time() / 1000 : 0;
    agent_status_tell(vm->agent);
}

static void waits(AgentVm *vm)
{
    char *text =
        g_strdup_printf("a disk of %s has no space left on its storage: its guest waits, and "
                        "nothing is lost. Make room; it is continued every %u s",
                        vm->name, (unsigned)(AGAIN_MS / 1000));
    tell(vm, text);
    agent_events_add(vm->agent->events, "error", "vm.disk-full", vm->name, NULL, "%s", text);
    wait_on(vm);
}

static void goes_on(AgentVm *vm)
{
    tell(vm, NULL);
    agent_events_add(vm->agent->events, "info", "vm.disk-works", vm->name, NULL,
                     "the disks of %s take its writes again; its guest goes on", vm->name);
    agent_guest_time_begin(vm);
}

static gboolean try_again(gpointer data)
{
    AgentVm *vm = data;
    vm->disk_timer = 0;
    HvRunState state = hv_vm_run_state(vm->hv);
    if (state == HV_RUN_RUNNING) { // since the last try
        goes_on(vm);
        return G_SOURCE_REMOVE;
    }
    if (state == HV_RUN_IO_ERROR)
        hv_vm_cont(vm->hv, NULL, NULL); // where that fails, the next try tells
    wait_on(vm); // also where its monitor does not answer: the state comes anew
    return G_SOURCE_REMOVE;
}

void agent_disk_wait_look(AgentVm *vm)
{
    if (vm->hv == NULL || vm->state != AGENT_VM_RUNNING)
        agent_disk_wait_end(vm);
    else if (hv_vm_run_state(vm->hv) == HV_RUN_IO_ERROR && vm->disk_timer == 0)
        waits(vm);
}

void agent_disk_wait_end(AgentVm *vm)
{
    g_clear_handle_id(&vm->disk_timer, g_source_remove);
}
