// SPDX-License-Identifier: GPL-2.0-or-later
// After a start of the agent: every QEMU of this node is found again, and the run record decides
// whether it has a right to run.
#include "agent/vm.h"

#include "agent/guest_time.h"
#include "agent/last_move.h"
#include "agent/load.h"
#include "agent/move_out.h"
#include "agent/quarantine.h"

#include <string.h>

enum { RETRY_MS = 1000 };

// One storage that hangs must not keep the agent from all other VMs: it opens after
// AGENT_ADOPT_PATIENCE_MS.
typedef struct {
    Agent *agent;
    guint left;
    guint timer;
    void (*done)(Agent *agent); // NULL once it was called
} Adoption;

static void look(AgentVm *vm, Adoption *adoption);

static void open_agent(Adoption *adoption)
{
    if (adoption->done != NULL)
        adoption->done(adoption->agent);
    adoption->done = NULL;
}

static gboolean out_of_patience(gpointer data)
{
    Adoption *adoption = data;
    adoption->timer = 0;
    g_warning("the storage of %u VMs does not answer; what runs of them is looked for further",
              adoption->left);
    open_agent(adoption);
    return G_SOURCE_REMOVE;
}

static void one_done(Adoption *adoption)
{
    if (adoption == NULL || --adoption->left > 0)
        return;
    g_clear_handle_id(&adoption->timer, g_source_remove);
    open_agent(adoption);
    g_free(adoption);
}

static void adopted(AgentVm *vm)
{
    agent_events_add(vm->agent->events, "info", "vm.adopted", vm->name, NULL,
                     "%s was found running on %s (pid %d)", vm->name, vm->agent->name,
                     (int)hv_vm_pid(vm->hv));
    agent_vm_set_state(vm, AGENT_VM_RUNNING);
}

static void leftover(AgentVm *vm, const char *why)
{
    agent_events_add(vm->agent->events, "warning", "vm.leftover", vm->name, NULL,
                     "a QEMU of %s on %s is ended: %s", vm->name, vm->agent->name, why);
    hv_vm_kill(vm->hv, NULL);
}

void agent_vm_leftover_exited(AgentVm *vm)
{
    agent_vm_detach(vm);
    agent_vm_set_state(vm, AGENT_VM_ABSENT);
}

// --- taking a guest back that was left in the middle ---

static gboolean look_again(gpointer data);

static void try_again(AgentVm *vm, const GError *error)
{
    g_warning("VM %s: %s; trying again", vm->name, error->message);
    g_clear_handle_id(&vm->retry_timer, g_source_remove);
    vm->retry_timer = g_timeout_add(RETRY_MS, look_again, vm);
}

static void continued(HvVm *hv, const GError *error, gpointer data)
{
    AgentVm *vm = data;
    if (error == NULL) {
        adopted(vm);
        agent_guest_time_begin(vm);
    } else if (hv_vm_run_state(hv) == HV_RUN_SHUTDOWN) {
        leftover(vm, "its guest has powered itself off");
    } else if (vm->state == AGENT_VM_UNKNOWN) {
        try_again(vm, error);
    }
}

static void go_on(AgentVm *vm)
{
    if (hv_vm_run_state(vm->hv) == HV_RUN_RUNNING)
        adopted(vm);
    else
        hv_vm_cont(vm->hv, continued, vm);
}

static void taken_back(AgentVm *vm, const FerryRecord *record, const GError *error, gpointer data)
{
    (void)record;
    (void)data;
    if (vm->hv == NULL || vm->state != AGENT_VM_UNKNOWN) // it ended meanwhile
        return;
    if (error != NULL)
        try_again(vm, error);
    else
        go_on(vm);
}

static void set_running(AgentVm *vm)
{
    FerryRecord next = vm->record;
    if (ferry_record_advance(&next, FERRY_RUNNING, false, vm->agent->name, NULL))
        agent_record_write(vm, &next, vm->record.sequence, taken_back, NULL);
    else
        go_on(vm);
}

// Whether a lazy load is still under way.
static void incoming_known(HvVm *hv, const HvMigration *migration, const GError *error,
                           gpointer data)
{
    (void)hv;
    AgentVm *vm = data;
    if (vm->hv == NULL || vm->state != AGENT_VM_UNKNOWN)
        return;
    if (error != NULL) {
        try_again(vm, error);
    } else if (migration->status == HV_MIGRATION_ACTIVE ||
               migration->status == HV_MIGRATION_PAUSED) {
        go_on(vm);
        agent_guest_time_begin(vm); // the vmferryd before may not have come to it
    } else {
        g_clear_pointer(&vm->load, agent_load_free);
        set_running(vm);
    }
}

static void save_ended(HvVm *hv, const GError *error, gpointer data)
{
    (void)hv;
    (void)error; // whatever it was, it is over
    set_running(data);
}

// --- the decision ---

static void record_is_older(AgentVm *vm, const FerryRecord *record)
{
    g_autoptr(GError) error = g_error_new(
        AGENT_ERROR, AGENT_ERROR_REFUSED,
        "it runs in epoch %" G_GUINT64_FORMAT ", but %s says epoch %" G_GUINT64_FORMAT
        ": an older copy took its place; bring the newer one back",
        hv_vm_epoch(vm->hv), vm->definition->state_area, record->epoch);
    try_again(vm, error);
}

static void follow_load(AgentVm *vm)
{
    if (vm->load == NULL)
        agent_load_begin(vm, NULL);
}

static bool is_ours(const AgentVm *vm, const FerryRecord *record)
{
    return strcmp(record->owner, vm->agent->name) == 0;
}

static void decide(AgentVm *vm, const FerryRecord *record)
{
    bool ours = is_ours(vm, record);
    // The agent ended between the record's new epoch and its note of it. A cold start replaces that
    // note before the record.
    if (ours && record->state == FERRY_RUNNING && record->epoch == hv_vm_epoch(vm->hv) + 1)
        hv_vm_set_epoch(vm->hv, record->epoch, NULL);
    bool this_epoch = hv_vm_epoch(vm->hv) == record->epoch;
    HvRunState run_state = hv_vm_run_state(vm->hv);
    // What runs the guest had its epoch in the record: an older copy is there now.
    if (record->epoch < hv_vm_epoch(vm->hv) && run_state == HV_RUN_RUNNING) {
        record_is_older(vm, record);
        return;
    }
    if (!ours || !this_epoch) {
        leftover(vm, "its run record gives the VM to another node or a newer start");
        return;
    }
    switch (record->state) {
    case FERRY_RUNNING:
    case FERRY_CONSUMED:
        if (run_state == HV_RUN_INMIGRATE) {
            leftover(vm, "its memory was never loaded completely");
        } else if (record->state == FERRY_CONSUMED) {
            follow_load(vm);
            hv_vm_query_migration(vm->hv, incoming_known, vm);
        } else {
            set_running(vm);
        }
        break;
    case FERRY_SAVING:
        hv_vm_save_end(vm->hv, save_ended, vm); // its saver went with the vmferryd before
        break;
    case FERRY_SEALED:
        agent_vm_set_state(vm, AGENT_VM_STRANDED);
        if (vm->agent->ready)
            agent_vm_settle_adopted(vm->agent);
        break;
    default:
        leftover(vm, "its run record says that the VM is off");
        break;
    }
}

static gboolean look_again(gpointer data)
{
    AgentVm *vm = data;
    vm->retry_timer = 0;
    look(vm, NULL);
    return G_SOURCE_REMOVE;
}

static void record_known(AgentVm *vm, const FerryRecord *record, const GError *error,
                         gpointer data)
{
    if (vm->hv == NULL || vm->state != AGENT_VM_UNKNOWN) { // it ended meanwhile
        one_done(data);
        return;
    }
    if (error != NULL)
        try_again(vm, error);
    else
        decide(vm, record);
    one_done(data);
}

// Before QEMU has answered: where its pager went with the vmferryd before, its main loop may be waiting
// for a page, and answers nobody until there is another pager.
static void follow_if_consumed(AgentVm *vm, const FerryRecord *record, const GError *error,
                               gpointer data)
{
    (void)data;
    if (error == NULL && vm->hv != NULL && vm->state == AGENT_VM_UNKNOWN && is_ours(vm, record) &&
        record->state == FERRY_CONSUMED && record->epoch == hv_vm_epoch(vm->hv))
        follow_load(vm);
}

typedef struct {
    AgentVm *vm;
    Adoption *adoption;
} Look;

static void found(HvVm *hv, const GError *error, gpointer data)
{
    (void)hv;
    g_autofree Look *one = data;
    AgentVm *vm = one->vm;
    if (error == NULL) {
        agent_record_read_running(vm, record_known, one->adoption);
        return;
    }
    if (g_error_matches(error, HV_ERROR, HV_ERROR_NOT_RUNNING)) {
        if (!agent_quarantine_resume(vm))
            agent_vm_leftover_exited(vm);
    } else {
        try_again(vm, error);
    }
    one_done(one->adoption);
}

static void look(AgentVm *vm, Adoption *adoption)
{
    if (vm->state != AGENT_VM_UNKNOWN)
        return;
    Look *one = g_new(Look, 1);
    *one = (Look){.vm = vm, .adoption = adoption};
    agent_vm_attach(vm, vm->definition);
    hv_vm_adopt(vm->hv, found, one);
    agent_record_read_running(vm, follow_if_consumed, NULL);
}

void agent_vm_adopt_all(Agent *agent, void (*done)(Agent *agent))
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) names = hv_vm_list(agent->config->run_dir, &error);
    if (names == NULL)
        g_warning("%s: %s", agent->config->run_dir, error->message);
    Adoption *adoption = g_new(Adoption, 1);
    *adoption = (Adoption){.agent = agent, .left = 1, .done = done};
    adoption->timer = g_timeout_add(AGENT_ADOPT_PATIENCE_MS, out_of_patience, adoption);
    for (char **name = names; name != NULL && *name != NULL; name++) {
        g_autoptr(GError) unreadable = NULL;
        uint64_t epoch = 0;
        HvDefinition *definition =
            hv_vm_recorded(agent->config->run_dir, *name, &epoch, &unreadable);
        if (definition == NULL) {
            g_warning("VM %s: %s", *name, unreadable->message);
            continue;
        }
        AgentVm *vm = agent_vm_ensure(agent, *name);
        vm->definition = definition;
        vm->state = AGENT_VM_UNKNOWN;
        agent_last_move_load(vm);
        adoption->left++;
        look(vm, adoption);
    }
    one_done(adoption);
}

void agent_vm_settle_adopted(Agent *agent)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, agent->vms);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        AgentVm *vm = value;
        if (vm->state == AGENT_VM_STRANDED && vm->record.peer[0] != '\0' && vm->out == NULL &&
            agent_cluster_has(agent->cluster, vm->record.peer))
            agent_move_out_recover(vm);
    }
}
