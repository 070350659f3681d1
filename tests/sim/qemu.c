// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU, in the place of hvcore/vm.h: processes that outlive vmferryd, a monitor that answers in
// order and late, live saves, eager and lazy loads. What it does under which command is QEMU 7.2's
// way, as hvcore's integration tests see it with the real one.
#include "tests/sim/qemu.h"

#include "hvcore/hugepages.h"
#include "tests/sim/fault.h"
#include "tests/sim/node.h"

enum { COMMAND_US = 30 * SIM_S, ADOPT_US = 10 * SIM_S, BOOT_US = 120 * SIM_MS };

struct HvVm {
    unsigned references;
    bool freed;
    SimNode *node;
    HvVmEvents events;
    gpointer data;
    SimQemu *qemu; // connected to it, or was
    HvRunState run_state;
    HvMigrationStatus migration;
    uint64_t epoch;
    HvDoneFn launch_done; // until it is answered
    gpointer launch_data;
    GError *launch_error;
    GQueue pending; // commands without an answer
};

static SimQemu qemus[SIM_QEMUS];
static unsigned n_qemus;

static HvVm *hold(HvVm *vm)
{
    vm->references++;
    return vm;
}

static void release(gpointer data)
{
    HvVm *vm = data;
    if (--vm->references > 0)
        return;
    g_queue_clear(&vm->pending);
    g_clear_error(&vm->launch_error);
    g_free(vm);
}

// --- what QEMU tells; the monitor keeps its order ---

static void close_commands(HvVm *vm);

typedef struct {
    HvVm *vm; // held
    enum { TELL_RUN_STATE, TELL_MIGRATION, TELL_SHUTDOWN, TELL_EXIT } kind;
    int value;
} Tell;

static void tell_free(gpointer data)
{
    Tell *tell = data;
    release(tell->vm);
    g_free(tell);
}

static void set_run_state(HvVm *vm, HvRunState state)
{
    if (vm->run_state == state || vm->freed)
        return;
    vm->run_state = state;
    if (vm->events.run_state != NULL)
        vm->events.run_state(vm, state, vm->data);
}

static void answer_launch(HvVm *vm, const GError *error)
{
    HvDoneFn done = vm->launch_done;
    vm->launch_done = NULL;
    done(vm, error, vm->launch_data);
}

static void tell_exit(HvVm *vm)
{
    close_commands(vm);
    if (vm->freed)
        return;
    if (vm->launch_done != NULL) {
        g_autoptr(GError) error =
            vm->launch_error != NULL
                ? g_steal_pointer(&vm->launch_error)
                : g_error_new(HV_ERROR, HV_ERROR_START, "QEMU ended while it started");
        answer_launch(vm, error);
    } else if (vm->events.exited != NULL) {
        vm->events.exited(vm, -1, vm->data);
    }
}

static void told(gpointer data)
{
    Tell *tell = data;
    HvVm *vm = tell->vm;
    if (vm->freed)
        return;
    switch (tell->kind) {
    case TELL_RUN_STATE:
        set_run_state(vm, (HvRunState)tell->value);
        break;
    case TELL_MIGRATION:
        vm->migration = (HvMigrationStatus)tell->value;
        vm->events.migration(vm, (HvMigrationStatus)tell->value, vm->data);
        break;
    case TELL_SHUTDOWN:
        set_run_state(vm, HV_RUN_SHUTDOWN);
        if (!vm->freed)
            vm->events.guest_shutdown(vm, "guest-shutdown", vm->data);
        break;
    case TELL_EXIT:
        tell_exit(vm);
        break;
    }
}

static void tell_agent(SimQemu *qemu, int kind, int value)
{
    if (qemu->vm == NULL)
        return;
    Tell *tell = g_new(Tell, 1);
    *tell = (Tell){.vm = hold(qemu->vm), .kind = kind, .value = value};
    sim_after(&qemu->node->agent_process, sim_in_order(&qemu->told_us, 300), told, tell, tell_free);
}

// --- the process ---

bool sim_qemu_lives(const SimQemu *qemu)
{
    return qemu != NULL && qemu->alive;
}

void sim_qemu_set_run_state(SimQemu *qemu, HvRunState state)
{
    if (qemu->run_state == state)
        return;
    bool ran = qemu->run_state == HV_RUN_RUNNING, runs = state == HV_RUN_RUNNING;
    if (ran && !runs) {
        oracle_writes(&world.oracle, qemu->copy);
        oracle_pauses(&world.oracle, qemu->copy);
    }
    qemu->run_state = state;
    SIM_TRACE("%s: QEMU (copy %u) is %s", qemu->node->name, qemu->copy, hv_run_state_name(state));
    if (runs) {
        oracle_runs(&world.oracle, qemu->copy);
        oracle_writes(&world.oracle, qemu->copy);
    }
    tell_agent(qemu, TELL_RUN_STATE, (int)state);
}

void sim_qemu_tell_migration(SimQemu *qemu, HvMigrationStatus status)
{
    tell_agent(qemu, TELL_MIGRATION, (int)status);
}

static void gone(SimQemu *qemu, OracleEnd end)
{
    if (!qemu->alive)
        return;
    qemu->alive = false;
    SIM_TRACE("%s: QEMU (copy %u) is gone", qemu->node->name, qemu->copy);
    oracle_ends(&world.oracle, qemu->copy,
                qemu->run_state == HV_RUN_SHUTDOWN ? ORACLE_BY_ITSELF : end);
    sim_end_life(&qemu->actor);
    sim_helpers_qemu_gone(qemu);
    tell_agent(qemu, TELL_EXIT, 0);
}

void sim_qemu_killed(SimQemu *qemu, OracleEnd end)
{
    gone(qemu, end);
}

static void killed(gpointer data)
{
    gone(data, ORACLE_BY_PRODUCT);
}

static void kill_later(SimQemu *qemu)
{
    if (qemu->dying)
        return;
    qemu->dying = true;
    // Its own I/O under way has to end first, and a SIGSTOP does not matter.
    gint64 hang_us = MAX(qemu->node->hang_until_us - world.now_us, 0);
    sim_after(&qemu->node->os, hang_us + sim_around(3 * SIM_MS), killed, qemu, NULL);
}

void sim_qemu_kill(SimQemu *qemu)
{
    if (qemu->alive)
        kill_later(qemu);
}

static SimQemu *qemu_new(SimNode *node, HvLaunchMode mode, uint64_t epoch)
{
    if (n_qemus == SIM_QEMUS)
        g_error("more than %d QEMUs", SIM_QEMUS);
    SimQemu *qemu = &qemus[n_qemus++];
    *qemu = (SimQemu){.actor = {.node = node},
                      .node = node,
                      .copy = oracle_copy_new(&world.oracle, node->index),
                      .alive = true,
                      .run_state = HV_RUN_UNKNOWN,
                      .mode = mode,
                      .epoch = epoch};
    return qemu;
}

void sim_qemu_reset(void)
{
    n_qemus = 0;
}

// --- the object ---

HvVm *hv_vm_new(const HvDefinition *definition, const HvNode *node, const char *run_dir,
                const HvVmEvents *events, gpointer data)
{
    (void)definition;
    (void)node;
    (void)run_dir;
    HvVm *vm = g_new0(HvVm, 1);
    *vm = (HvVm){.references = 1, .node = world.here, .events = *events, .data = data};
    g_queue_init(&vm->pending);
    return vm;
}

void hv_vm_free(HvVm *vm)
{
    if (vm == NULL)
        return;
    vm->freed = true;
    if (vm->qemu != NULL && vm->qemu->vm == vm)
        vm->qemu->vm = NULL;
    release(vm);
}

static void connect_to(HvVm *vm, SimQemu *qemu)
{
    vm->qemu = qemu;
    vm->epoch = qemu->epoch;
    qemu->vm = vm;
}

static void booted(gpointer data)
{
    SimQemu *qemu = data;
    sim_qemu_set_run_state(qemu,
                           qemu->mode == HV_LAUNCH_COLD ? HV_RUN_PRELAUNCH : HV_RUN_INMIGRATE);
}

static void launch_over(gpointer data)
{
    HvVm *vm = data;
    if (!vm->freed && vm->launch_done != NULL && vm->launch_error == NULL && vm->qemu->alive)
        answer_launch(vm, NULL);
}

static void launch_refused(gpointer data)
{
    HvVm *vm = data;
    if (vm->freed || vm->launch_done == NULL)
        return;
    g_autoptr(GError) error = g_error_new(HV_ERROR, HV_ERROR_START, "it runs on this node already");
    answer_launch(vm, error);
}

void hv_vm_launch(HvVm *vm, HvLaunchMode mode, uint64_t epoch, HvDoneFn done, gpointer data)
{
    SimNode *node = vm->node;
    vm->launch_done = done;
    vm->launch_data = data;
    if (sim_qemu_lives(node->qemu)) {
        sim_after(&node->agent_process, 0, launch_refused, hold(vm), release);
        return;
    }
    SimQemu *qemu = qemu_new(node, mode, epoch);
    SIM_TRACE("%s: QEMU (copy %u) is launched %s, epoch %" G_GUINT64_FORMAT, node->name, qemu->copy,
              mode == HV_LAUNCH_COLD ? "cold" : "incoming", epoch);
    node->qemu = qemu;
    connect_to(vm, qemu);
    gint64 boot_us = sim_around(BOOT_US);
    sim_after(&qemu->actor, boot_us, booted, qemu, NULL);
    qemu->told_us = world.now_us + boot_us;
    sim_after(&node->agent_process, sim_in_order(&qemu->told_us, 1000), launch_over, hold(vm),
              release);
    if (sim_fault_now(FAULT_LAUNCH_FAILS))
        sim_after(&node->os, boot_us / 2, killed, qemu, NULL);
}

// --- adoption ---

typedef struct {
    HvVm *vm; // held
    HvDoneFn done;
    gpointer data;
} Adoption;

static void adoption_free(gpointer data)
{
    Adoption *adoption = data;
    release(adoption->vm);
    g_free(adoption);
}

static bool is_silent(const SimQemu *qemu)
{
    return qemu->actor.frozen || qemu->waits;
}

static void adopted(gpointer data)
{
    Adoption *adoption = data;
    HvVm *vm = adoption->vm;
    SimQemu *qemu = vm->node->qemu;
    g_autoptr(GError) error = NULL;
    if (vm->freed)
        return;
    if (!sim_qemu_lives(qemu)) {
        error = g_error_new(HV_ERROR, HV_ERROR_NOT_RUNNING, "QEMU does not run on this node");
    } else {
        connect_to(vm, qemu);
        if (is_silent(qemu) || qemu->run_state == HV_RUN_UNKNOWN)
            error = g_error_new(HV_ERROR, HV_ERROR_UNKNOWN, "QEMU is there, but silent");
        else
            set_run_state(vm, qemu->run_state);
    }
    if (!vm->freed)
        adoption->done(vm, error, adoption->data);
}

void hv_vm_adopt(HvVm *vm, HvDoneFn done, gpointer data)
{
    SimQemu *qemu = vm->node->qemu;
    Adoption *adoption = g_new(Adoption, 1);
    *adoption = (Adoption){.vm = hold(vm), .done = done, .data = data};
    if (sim_qemu_lives(qemu)) { // as its process file says, before its monitor answers
        vm->qemu = qemu;
        vm->epoch = qemu->epoch;
    }
    bool silent = sim_qemu_lives(qemu) && is_silent(qemu);
    sim_after(&vm->node->agent_process, silent ? ADOPT_US : sim_around(2 * SIM_MS), adopted,
              adoption, adoption_free);
}

char **hv_vm_list(const char *run_dir, GError **error)
{
    (void)run_dir;
    (void)error;
    const char *names[] = {world.here->qemu != NULL ? SIM_VM : NULL, NULL};
    return g_strdupv((char **)names);
}

HvDefinition *hv_vm_recorded(const char *run_dir, const char *name, uint64_t *epoch, GError **error)
{
    (void)run_dir;
    (void)name;
    *epoch = world.here->qemu->epoch;
    return hv_definition_parse("", error);
}

// --- getters ---

bool hv_vm_process_alive(const HvVm *vm)
{
    return vm->qemu != NULL && vm->qemu->alive;
}

pid_t hv_vm_pid(const HvVm *vm)
{
    return vm->qemu != NULL && vm->qemu->alive ? (pid_t)vm->qemu->copy : 0;
}

const char *hv_vm_guest_agent_path(const HvVm *vm)
{
    (void)vm;
    return "guest-agent.sock";
}

HvRunState hv_vm_run_state(const HvVm *vm)
{
    return vm->run_state;
}

HvMigrationStatus hv_vm_migration(const HvVm *vm)
{
    return vm->migration;
}

uint64_t hv_vm_epoch(const HvVm *vm)
{
    return vm->epoch;
}

bool hv_vm_set_epoch(HvVm *vm, uint64_t epoch, GError **error)
{
    (void)error;
    vm->epoch = epoch;
    if (vm->qemu != NULL)
        vm->qemu->epoch = epoch;
    return true;
}

bool hv_vm_kill(HvVm *vm, GError **error)
{
    if (vm->qemu == NULL || !vm->qemu->alive) {
        g_set_error(error, HV_ERROR, HV_ERROR_NOT_RUNNING, "there is no QEMU to kill");
        return false;
    }
    if (vm->launch_done != NULL && vm->launch_error == NULL)
        vm->launch_error = g_error_new(HV_ERROR, HV_ERROR_START, "QEMU was killed");
    kill_later(vm->qemu);
    return true;
}

bool hv_vm_forget(const char *run_dir, const char *name, GError **error)
{
    (void)run_dir;
    (void)name;
    (void)error;
    return false;
}

// --- commands: to QEMU, done there, and the answer back ---

typedef enum {
    DO_CONT,
    DO_PAUSE,
    DO_POWERDOWN,
    DO_QUIT,
    DO_NOTHING,
    DO_SAVE,
    DO_SAVE_END,
    DO_LOAD,
    DO_LOAD_LAZY,
    DO_QUERY
} Verb;

typedef struct {
    unsigned references;
    HvVm *vm; // held
    SimQemu *qemu;
    Verb verb;
    HvDoneFn done;
    HvMigrationFn query_done;
    gpointer data;
    bool answered;
    GError *error;
    HvMigration migration;
} Command;

static void command_unref(gpointer data)
{
    Command *command = data;
    if (--command->references > 0)
        return;
    g_queue_remove(&command->vm->pending, command);
    g_clear_error(&command->error);
    release(command->vm);
    g_free(command);
}

static Command *command_ref(Command *command)
{
    command->references++;
    return command;
}

static void answer(Command *command, const GError *error)
{
    if (command->answered || command->vm->freed)
        return;
    command->answered = true;
    g_queue_remove(&command->vm->pending, command);
    if (command->query_done != NULL)
        command->query_done(command->vm, &command->migration, error, command->data);
    else if (command->done != NULL)
        command->done(command->vm, error, command->data);
}

static void answered(gpointer data)
{
    Command *command = data;
    answer(command, command->error);
}

static void is_late(gpointer data)
{
    Command *command = data;
    g_autoptr(GError) error = command->qemu == NULL || !command->qemu->alive
                                  ? g_error_new(HV_ERROR, HV_ERROR_CLOSED, "QEMU went away")
                                  : g_error_new(HV_ERROR, HV_ERROR_TIMEOUT, "no answer in time");
    answer(command, error);
}

static void close_commands(HvVm *vm)
{
    while (!vm->freed && !g_queue_is_empty(&vm->pending)) {
        Command *command = command_ref(g_queue_peek_head(&vm->pending));
        is_late(command);
        command_unref(command);
    }
}

static GError *refused(const char *why)
{
    return g_error_new(HV_ERROR, HV_ERROR_QMP, "%s", why);
}

static GError *do_cont(SimQemu *qemu)
{
    switch (qemu->run_state) {
    case HV_RUN_PRELAUNCH:
    case HV_RUN_PAUSED:
    case HV_RUN_POSTMIGRATE:
        if (sim_fault_now(FAULT_CONT_FAILS))
            return refused("Failed to get \"write\" lock");
        sim_qemu_set_run_state(qemu, HV_RUN_RUNNING);
        return NULL;
    case HV_RUN_INMIGRATE:
        qemu->autostart = true;
        return NULL;
    case HV_RUN_RUNNING:
        return NULL;
    default:
        return refused("Resetting the Virtual Machine is required");
    }
}

static void guest_obeys(gpointer data)
{
    SimQemu *qemu = data;
    if (qemu->run_state != HV_RUN_RUNNING)
        return;
    sim_qemu_set_run_state(qemu, HV_RUN_SHUTDOWN);
    tell_agent(qemu, TELL_SHUTDOWN, 0);
}

static GError *do_powerdown(SimQemu *qemu)
{
    if (!sim_chance(200)) // others are deaf
        sim_after(&qemu->actor, sim_around(3 * SIM_S), guest_obeys, qemu, NULL);
    return NULL;
}

static GError *do_query(Command *command)
{
    const SimQemu *qemu = command->qemu;
    command->migration.status =
        qemu->mode == HV_LAUNCH_INCOMING && qemu->outgoing == HV_MIGRATION_NONE ? qemu->incoming
                                                                                : qemu->outgoing;
    return NULL;
}

static void quits(gpointer data)
{
    gone(data, ORACLE_BY_PRODUCT);
}

static GError *execute(Command *command)
{
    SimQemu *qemu = command->qemu;
    switch (command->verb) {
    case DO_CONT:
        return do_cont(qemu);
    case DO_PAUSE:
        if (qemu->run_state == HV_RUN_RUNNING)
            sim_qemu_set_run_state(qemu, HV_RUN_PAUSED);
        return NULL;
    case DO_POWERDOWN:
        return do_powerdown(qemu);
    case DO_QUIT:
        sim_after(&qemu->actor, sim_around(20 * SIM_MS), quits, qemu, NULL);
        return NULL;
    case DO_SAVE:
        return sim_save_begin(qemu) ? NULL : refused("Failed to connect to the saver");
    case DO_SAVE_END:
        sim_save_end(qemu);
        return NULL;
    case DO_LOAD:
    case DO_LOAD_LAZY:
        qemu->lazy = command->verb == DO_LOAD_LAZY;
        return NULL;
    case DO_QUERY:
        return do_query(command);
    case DO_NOTHING:
        break;
    }
    return NULL;
}

static void arrives(gpointer data)
{
    Command *command = data;
    if (!command->qemu->alive)
        return;
    if (command->qemu->waits) {
        sim_after(&command->qemu->actor, 100 * SIM_MS, arrives, command_ref(command), command_unref);
        return;
    }
    command->error = execute(command);
    if (command->qemu->vm == command->vm)
        sim_after(&command->vm->node->agent_process, sim_in_order(&command->qemu->told_us, 300),
                  answered, command_ref(command), command_unref);
}

static void give(HvVm *vm, Verb verb, HvDoneFn done, HvMigrationFn query_done, gpointer data)
{
    Command *command = g_new0(Command, 1);
    *command = (Command){.references = 1,
                         .vm = hold(vm),
                         .qemu = vm->qemu,
                         .verb = verb,
                         .done = done,
                         .query_done = query_done,
                         .data = data};
    SimActor *agent = &vm->node->agent_process;
    g_queue_push_tail(&vm->pending, command);
    if (vm->qemu == NULL || !vm->qemu->alive) {
        sim_after(agent, 0, is_late, command, command_unref);
        return;
    }
    SimQemu *qemu = vm->qemu;
    // QEMU hears nobody while it stands still for its last pass.
    if (qemu->run_state == HV_RUN_FINISH_MIGRATE)
        qemu->heard_us = MAX(qemu->heard_us, qemu->pass_ends_us + 1);
    sim_after(&qemu->actor, sim_in_order(&qemu->heard_us, 300), arrives, command_ref(command),
              command_unref);
    sim_quietly_after(agent, COMMAND_US, is_late, command, command_unref);
}

void hv_vm_cont(HvVm *vm, HvDoneFn done, gpointer data)
{
    give(vm, DO_CONT, done, NULL, data);
}

void hv_vm_pause(HvVm *vm, HvDoneFn done, gpointer data)
{
    give(vm, DO_PAUSE, done, NULL, data);
}

void hv_vm_powerdown(HvVm *vm, HvDoneFn done, gpointer data)
{
    give(vm, DO_POWERDOWN, done, NULL, data);
}

void hv_vm_quit(HvVm *vm, HvDoneFn done, gpointer data)
{
    give(vm, DO_QUIT, done, NULL, data);
}

void hv_vm_announce(HvVm *vm, HvDoneFn done, gpointer data)
{
    give(vm, DO_NOTHING, done, NULL, data);
}

void hv_vm_save(HvVm *vm, const char *path, unsigned downtime_ms, HvDoneFn done, gpointer data)
{
    (void)path;
    (void)downtime_ms;
    give(vm, DO_SAVE, done, NULL, data);
}

void hv_vm_save_end(HvVm *vm, HvDoneFn done, gpointer data)
{
    give(vm, DO_SAVE_END, done, NULL, data);
}

void hv_vm_load(HvVm *vm, const char *path, bool lazy, HvDoneFn done, gpointer data)
{
    (void)path;
    give(vm, lazy ? DO_LOAD_LAZY : DO_LOAD, done, NULL, data);
}

void hv_vm_query_migration(HvVm *vm, HvMigrationFn done, gpointer data)
{
    give(vm, DO_QUERY, NULL, done, data);
}

// --- out of band ---

bool hv_process_recover_now(const char *run_dir, const char *name, const char *path,
                            GError **error)
{
    (void)name;
    (void)path;
    const SimQemu *qemu = sim_node_of(run_dir)->qemu;
    if (sim_qemu_lives(qemu) && qemu->incoming == HV_MIGRATION_PAUSED && !qemu->actor.frozen)
        return true;
    g_set_error(error, HV_ERROR, HV_ERROR_QMP,
                "Migrate recover can only be run when postcopy is paused.");
    return false;
}

bool hv_process_recover(const char *run_dir, const char *name, const char *path,
                        unsigned deadline_ms, GError **error)
{
    for (unsigned waited = 0; waited < deadline_ms; waited += 200) {
        if (hv_process_recover_now(run_dir, name, path, NULL))
            return true;
        if (!sim_qemu_lives(sim_node_of(run_dir)->qemu))
            break;
        sim_sleep(200 * SIM_MS);
    }
    g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "QEMU does not listen for another pager");
    return false;
}
