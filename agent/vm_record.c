// SPDX-License-Identifier: GPL-2.0-or-later
// A VM's run record, read and written off the main loop. The area is opened anew each time: another
// node may have replaced a file meanwhile.
#include "agent/vm.h"
#include "agent/worker.h"

#include <string.h>

typedef struct {
    Agent *agent;
    char *vm;
    HvDefinition *definition; // NULL: only the area
    char *path;
    bool check;    // the node and the area, without writing
    bool prepare;  // check, and make the area ready
    bool write;
    FerryRecord record; // in: to write; out: as it is on storage now
    uint64_t expected;
    GError *error;
    AgentRecordFn done;
    gpointer data;
} RecordWork;

static bool ready_to_open(RecordWork *work)
{
    if (work->check || work->prepare) {
        if (!hv_definition_check_node(work->definition, &work->error))
            return false;
    }
    if (work->prepare)
        return ferry_area_prepare(work->path, work->definition->uuid, work->vm,
                                  work->definition->memory_mib, &work->error);
    if (work->check)
        return ferry_area_check(work->path, work->definition->uuid, work->definition->memory_mib,
                                &work->error);
    return true;
}

static void run(gpointer data)
{
    RecordWork *work = data;
    if (!ready_to_open(work))
        return;
    g_autoptr(FerryArea) area = ferry_area_open(work->path, &work->error);
    if (area == NULL)
        return;
    if (work->write)
        ferry_area_write_record(area, &work->record, work->expected, &work->error);
    else
        ferry_area_read_record(area, &work->record, &work->error);
}

static void finished(gpointer data)
{
    RecordWork *work = data;
    AgentVm *vm = agent_vm_find(work->agent, work->vm);
    if (vm != NULL) {
        if (work->error == NULL)
            vm->record = work->record;
        work->done(vm, work->error == NULL ? &work->record : NULL, work->error, work->data);
    }
    g_clear_error(&work->error);
    if (work->definition != NULL)
        hv_definition_unref(work->definition);
    g_free(work->path);
    g_free(work->vm);
    g_free(work);
}

static RecordWork *new_work(AgentVm *vm, AgentRecordFn done, gpointer data)
{
    RecordWork *work = g_new0(RecordWork, 1);
    work->agent = vm->agent;
    work->vm = g_strdup(vm->name);
    work->definition = hv_definition_ref(vm->definition);
    work->path = g_strdup(vm->definition->state_area);
    work->done = done;
    work->data = data;
    return work;
}

void agent_record_read(AgentVm *vm, AgentRecordFn done, gpointer data)
{
    agent_worker_run(run, finished, new_work(vm, done, data));
}

void agent_record_write(AgentVm *vm, const FerryRecord *record, uint64_t expected,
                        AgentRecordFn done, gpointer data)
{
    RecordWork *work = new_work(vm, done, data);
    work->write = true;
    work->record = *record;
    work->expected = expected;
    agent_worker_run(run, finished, work);
}

void agent_record_prepare(AgentVm *vm, AgentRecordFn done, gpointer data)
{
    RecordWork *work = new_work(vm, done, data);
    work->prepare = true;
    agent_worker_run(run, finished, work);
}

void agent_record_check(AgentVm *vm, AgentRecordFn done, gpointer data)
{
    RecordWork *work = new_work(vm, done, data);
    work->check = true;
    agent_worker_run(run, finished, work);
}
