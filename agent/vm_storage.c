// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/vm_storage.h"

#include "agent/storage.h"
#include "agent/worker.h"
#include "hvcore/filesystem.h"

typedef struct {
    Agent *agent;
    char *vm;
    HvDefinition *definition; // NULL: not known
    FerryRecord record;
    GError *error;
    AgentRecordFn mounted;
    AgentVmDone given_back;
} StorageWork;

static StorageWork *work_new(AgentVm *vm)
{
    StorageWork *work = g_new0(StorageWork, 1);
    work->agent = vm->agent;
    work->vm = g_strdup(vm->name);
    if (vm->definition != NULL)
        work->definition = hv_definition_ref(vm->definition);
    return work;
}

static void work_free(StorageWork *work)
{
    if (work->definition != NULL)
        hv_definition_unref(work->definition);
    g_clear_error(&work->error);
    g_free(work->vm);
    g_free(work);
}

// --- mounting ---

static void run_mount(gpointer data)
{
    StorageWork *work = data;
    const HvNodeCheck check = {.accelerator = work->agent->node->accelerator};
    if (storage_mount(work->definition, &work->error))
        (void)hv_definition_check_node(work->definition, &check, &work->error);
}

static void mount_done(gpointer data)
{
    StorageWork *work = data;
    AgentVm *vm = agent_vm_find(work->agent, work->vm);
    if (vm != NULL) {
        vm->mounts--;
        work->mounted(vm, work->error == NULL ? &work->record : NULL, work->error, NULL);
    }
    work_free(work);
}

void agent_vm_mount(AgentVm *vm, const FerryRecord *record, AgentRecordFn done)
{
    if (!hv_definition_is_exclusive(vm->definition)) {
        done(vm, record, NULL, NULL);
        return;
    }
    StorageWork *work = work_new(vm);
    work->record = *record;
    work->mounted = done;
    vm->mounts++;
    agent_worker_run(run_mount, mount_done, work);
}

// --- giving back ---

static bool has_lv(const HvDefinition *definition)
{
    for (size_t i = 0; definition != NULL && i < definition->n_storage; i++)
        if (definition->storage[i].type == HV_STORAGE_LV)
            return true;
    return false;
}

bool agent_vm_holds_storage(const AgentVm *vm)
{
    return has_lv(vm->definition) || hv_filesystems_held(vm->name);
}

static void run_give_back(gpointer data)
{
    StorageWork *work = data;
    (void)storage_give_back(work->vm, work->definition, &work->error);
}

static void give_back_done(gpointer data)
{
    StorageWork *work = data;
    AgentVm *vm = agent_vm_find(work->agent, work->vm);
    if (vm != NULL) {
        vm->giving_back = false;
        work->given_back(vm, work->error, NULL);
    }
    work_free(work);
}

void agent_vm_give_back(AgentVm *vm, AgentVmDone done)
{
    StorageWork *work = work_new(vm);
    work->given_back = done;
    vm->giving_back = true;
    agent_worker_run(run_give_back, give_back_done, work);
}
