// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/witness.h"

#include <string.h>

bool agent_witness_allows(const AgentVm *vm, const FerryRecord *record, GError **error)
{
    uint64_t newest = agent_pacemaker_epoch(vm->agent->pacemaker, vm->name);
    if (record->epoch >= newest)
        return true;
    g_set_error(
        error, AGENT_ERROR, AGENT_ERROR_REFUSED,
        "the run record of %s in %s is of epoch %" G_GUINT64_FORMAT
        ", but the cluster has seen epoch %" G_GUINT64_FORMAT
        ": an older copy took its place. Nothing is started or overwritten; bring the newer "
        "one back, or `vmferry discard %s` lets it start cold",
        vm->name, vm->definition->state_area, record->epoch, newest, vm->name);
    return false;
}

static void witnessed(const GError *error, gpointer data)
{
    g_autofree char *name = data;
    if (error != NULL) // the next sweep tries again
        g_warning("VM %s: its epoch is not in the CIB: %s", name, error->message);
}

// Pacemaker monitors a VM once its start or its move is over; and the next one has not begun.
static bool is_due(const AgentVm *vm)
{
    return vm->state == AGENT_VM_RUNNING && strcmp(vm->record.owner, vm->agent->name) == 0 &&
           vm->monitored_epoch == vm->record.epoch && vm->out == NULL &&
           g_queue_is_empty((GQueue *)&vm->stops) &&
           vm->record.epoch > agent_pacemaker_epoch(vm->agent->pacemaker, vm->name);
}

void agent_witness_sweep(Agent *agent)
{
    GHashTableIter iter;
    gpointer value;
    if (!agent_pacemaker_connected(agent->pacemaker) || !agent_cluster_quorate(agent->cluster))
        return;
    g_hash_table_iter_init(&iter, agent->vms);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        AgentVm *vm = value;
        if (is_due(vm))
            agent_pacemaker_set_epoch(agent->pacemaker, vm->name, vm->record.epoch, witnessed,
                                      g_strdup(vm->name));
    }
}
