// SPDX-License-Identifier: GPL-2.0-or-later
// A VM's run record, read and written off the main loop. The area is opened anew each time: another
// node may have replaced a file meanwhile.
#include "agent/storage.h"
#include "agent/vm.h"
#include "agent/worker.h"
#include "hvcore/filesystem.h"

#include <string.h>

typedef struct {
    Agent *agent;
    char *vm;
    HvDefinition *definition;
    HvDefinition *saved; // out: what a sealed image was saved with
    char *path;
    bool check; // the node and the area, too
    bool write;
    uint64_t runs; // the epoch that the VM's QEMU here runs in; 0: it is not asked about
    unsigned number; // among the VM's
    FerryRecord record; // in: to write; out: as it is on storage now
    uint64_t expected;
    GError *error;
    AgentRecordFn done;
    gpointer data;
} RecordWork;

static bool ready_to_open(RecordWork *work)
{
    if (!work->check)
        return true;
    const HvNodeCheck check = {.accelerator = work->agent->node->accelerator,
                               .unmounted = !hv_filesystems_held(work->vm)};
    return storage_make_available(work->definition, true, &work->error) &&
           hv_definition_check_node(work->definition, &check, &work->error) &&
           ferry_area_check(work->path, work->definition->uuid, work->definition->memory_mib,
                            &work->error);
}

static void write_record(RecordWork *work, FerryArea *area)
{
    g_autofree char *text = hv_definition_to_json(work->definition);
    if (work->record.state == FERRY_SAVING &&
        (!ferry_area_expect(area, work->expected, &work->error) ||
         !ferry_area_write_definition(area, &work->record, text, &work->error)))
        return;
    ferry_area_write_record(area, &work->record, work->expected, &work->error);
}

// Beside CONSUMED, a damaged slot was to say RUNNING or QUARANTINED: of a QEMU that is here in that
// epoch only the former, which is written again.
static bool read_slots(RecordWork *work, FerryArea *area)
{
    bool damaged = true;
    if (work->runs != 0 && !ferry_area_salvage_record(area, &work->record, &damaged, &work->error))
        return false;
    return !damaged ||
           (work->runs != 0 && work->record.state == FERRY_CONSUMED &&
            work->record.epoch == work->runs &&
            strcmp(work->record.owner, work->agent->name) == 0) ||
           ferry_area_read_record(area, &work->record, &work->error);
}

static void read_record(RecordWork *work, FerryArea *area)
{
    if (!read_slots(work, area) ||
        work->record.state != FERRY_SEALED || !work->check)
        return;
    g_autofree char *text = ferry_area_read_definition(area, &work->record, &work->error);
    if (text != NULL)
        work->saved = hv_definition_parse(text, &work->error);
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
        write_record(work, area);
    else
        read_record(work, area);
}

// Storage may have kept an older answer for long. And while the VM's QEMU is here, no older copy in the
// area's place is what the VM goes by; of the same epoch it may be what a late write has left.
static bool counts(const RecordWork *work, const AgentVm *vm)
{
    return work->error == NULL && work->number > vm->record_seen &&
           (vm->hv == NULL || work->record.epoch >= vm->record.epoch);
}

static void finished(gpointer data)
{
    RecordWork *work = data;
    AgentVm *vm = agent_vm_find(work->agent, work->vm);
    if (vm != NULL) {
        if (work->write)
            vm->writes--;
        if (counts(work, vm)) {
            vm->record = work->record;
            vm->record_seen = work->number;
        }
        if (work->saved != NULL) {
            g_clear_pointer(&vm->saved_definition, hv_definition_unref);
            vm->saved_definition = hv_definition_ref(work->saved);
        }
        work->done(vm, work->error == NULL ? &work->record : NULL, work->error, work->data);
    }
    g_clear_error(&work->error);
    hv_definition_unref(work->definition);
    g_clear_pointer(&work->saved, hv_definition_unref);
    g_free(work->path);
    g_free(work->vm);
    g_free(work);
}

static RecordWork *new_work(AgentVm *vm, AgentRecordFn done, gpointer data)
{
    RecordWork *work = g_new0(RecordWork, 1);
    work->agent = vm->agent;
    work->vm = g_strdup(vm->name);
    work->number = ++vm->record_asked;
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

void agent_record_read_running(AgentVm *vm, AgentRecordFn done, gpointer data)
{
    RecordWork *work = new_work(vm, done, data);
    work->runs = hv_vm_epoch(vm->hv);
    agent_worker_run(run, finished, work);
}

void agent_record_write(AgentVm *vm, const FerryRecord *record, uint64_t expected,
                        AgentRecordFn done, gpointer data)
{
    RecordWork *work = new_work(vm, done, data);
    work->write = true;
    vm->writes++;
    work->record = *record;
    work->expected = expected;
    agent_worker_run(run, finished, work);
}

void agent_record_check(AgentVm *vm, AgentRecordFn done, gpointer data)
{
    RecordWork *work = new_work(vm, done, data);
    work->check = true;
    agent_worker_run(run, finished, work);
}
