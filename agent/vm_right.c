// SPDX-License-Identifier: GPL-2.0-or-later
// A node may stand still for so long that it is taken for dead. Fenced by its storage, not by power, it goes on
// later with a QEMU whose VM runs elsewhere: storage refuses what that one writes, and here it is ended.
#include "agent/vm.h"

#include "agent/load.h"

#include <string.h>

// An older copy in the area's place has an older epoch; what is under way in a move is not RUNNING.
static bool is_superseded(const AgentVm *vm, const FerryRecord *record)
{
    return vm->hv != NULL && vm->state == AGENT_VM_RUNNING &&
           record->epoch > hv_vm_epoch(vm->hv) && strcmp(record->owner, vm->agent->name) != 0;
}

void agent_vm_check_right(AgentVm *vm, const FerryRecord *record)
{
    g_autoptr(GError) error = NULL;
    if (!is_superseded(vm, record))
        return;
    agent_events_add(vm->agent->events, "error", "vm.superseded", vm->name, NULL,
                     "%s was started on %s (epoch %" G_GUINT64_FORMAT ") while %s stood still or was cut "
                     "off: the copy here (epoch %" G_GUINT64_FORMAT ") is ended",
                     vm->name, record->owner, record->epoch, vm->agent->name, hv_vm_epoch(vm->hv));
    g_clear_pointer(&vm->load, agent_load_free);
    agent_vm_set_state(vm, AGENT_VM_UNKNOWN); // its end is no failure that Pacemaker has to know of
    if (!hv_vm_kill(vm->hv, &error))
        g_warning("VM %s: %s", vm->name, error->message);
}

static void record_known(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)data;
    if (error != NULL)
        g_debug("VM %s: %s", vm->name, error->message);
    else
        agent_vm_check_right(vm, record);
}

void agent_vm_check_rights(Agent *agent)
{
    GHashTableIter iter;
    gpointer vm;
    g_hash_table_iter_init(&iter, agent->vms);
    while (g_hash_table_iter_next(&iter, NULL, &vm))
        if (((AgentVm *)vm)->state == AGENT_VM_RUNNING)
            agent_record_read(vm, record_known, NULL);
}
