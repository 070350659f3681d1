// SPDX-License-Identifier: GPL-2.0-or-later
// The inside of an HvVm, shared by vm*.c.
//
// Callbacks may free the VM. So every function here that calls one holds a reference, and looks at
// `freed` before it calls another.
#pragma once

#include "hvcore/definition_private.h"
#include "hvcore/qmp.h"
#include "hvcore/vm.h"

enum {
    HV_COMMAND_MS = 30 * 1000, // a command that only changes QEMU's state
    HV_LAUNCH_MS = 60 * 1000,  // QEMU opens its disks before QMP answers
    HV_ADOPT_MS = 10 * 1000,
    HV_SETTLE_MS = 1, // between two looks at a run state that is about to change
};

typedef enum { HV_PHASE_NONE, HV_PHASE_LAUNCHING, HV_PHASE_ADOPTING, HV_PHASE_UP } HvPhase;

struct HvVm {
    int references;
    bool freed;
    HvDefinition *definition;
    char *launcher, *qemu_path, *accelerator; // of the node
    HvUser *user;
    char *run_dir;
    char *console_path;
    char *guest_agent_path;
    char *resources_note;
    HvVmEvents events;
    gpointer data;

    HvPhase phase;
    HvDoneFn phase_done; // of hv_vm_launch or hv_vm_adopt
    gpointer phase_data;
    guint phase_timer;
    GError *phase_error; // why a launch failed, until the process is gone

    pid_t pid; // 0: none
    uint64_t start_time;
    uint64_t epoch;
    int pidfd;
    int rescue_fd; // as QEMU has it; -1: none
    guint exit_watch;
    guint log_timer;

    QmpClient *qmp;     // NULL where there is no connection
    GPtrArray *retired; // clients whose connection ended
    HvRunState run_state;
    HvMigrationStatus migration;
    bool incoming_runs; // incoming: QEMU says that the device state is being or has been loaded
    unsigned max_throttle; // of saves, per cent
    guint settle_timer;
    struct { // hv_vm_save_end
        HvDoneFn done;
        gpointer data;
        gint64 cancel_us; // then QEMU is told to; 0: it has been
        guint timer;
    } save_end;

    GQueue later; // answers to be given from the main loop
    guint later_source;
};

HvVm *hv_vm_hold(HvVm *vm);
void hv_vm_release(HvVm *vm);
typedef HvVm HvVmHold; // g_autoptr(HvVmHold) hold = hv_vm_hold(vm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HvVmHold, hv_vm_release)

void hv_vm_drop_source(guint *source);
// Calls DONE from the main loop. Takes ERROR (may be NULL).
void hv_vm_answer_later(HvVm *vm, HvDoneFn done, gpointer data, GError *error);

// A run of QMP commands, each given after the one before has succeeded.
typedef struct HvSteps HvSteps;
typedef GError *(*HvStepFn)(HvVm *vm, json_t *result); // NULL: goes on
HvSteps *hv_steps_new(unsigned deadline_ms);           // for each command
// Takes ARGUMENTS. CHECK may be NULL.
void hv_steps_add(HvSteps *steps, const char *command, json_t *arguments, HvStepFn check);
// Takes STEPS.
void hv_steps_run(HvSteps *steps, HvVm *vm, HvDoneFn done, gpointer data);
// One command without arguments.
void hv_vm_simple(HvVm *vm, const char *command, HvDoneFn done, gpointer data);
// Gives one command; where there is no connection REPLY gets its error from the main loop too.
void hv_vm_command(HvVm *vm, const char *command, json_t *arguments, unsigned deadline_ms,
                   QmpReplyFn reply, gpointer data, GDestroyNotify destroy);

// --- vm_events.c ---
void hv_vm_set_run_state(HvVm *vm, HvRunState state);
GError *hv_vm_take_status(HvVm *vm, json_t *result);    // HvStepFn of query-status
GError *hv_vm_take_migration(HvVm *vm, json_t *result); // HvStepFn of query-migrate
HvRunState hv_run_state_parse(const char *name);
HvMigrationStatus hv_migration_status_parse(const char *name);
// Connects to the VM's first monitor.
bool hv_vm_connect(HvVm *vm, GError **error);
json_t *hv_capabilities(bool with_postcopy, bool postcopy); // arguments for QMP

// --- vm_launch.c, vm_adopt.c ---
// Takes PIDFD and watches the process.
void hv_vm_watch(HvVm *vm, pid_t pid, int pidfd);
// Ends the phase; calls its DONE. Takes ERROR.
void hv_vm_phase_end(HvVm *vm, GError *error);
void hv_vm_launch_ended(HvVm *vm, int status); // QEMU ended in the launching phase
GError *hv_vm_busy(const HvVm *vm);            // NULL where a launch or adoption may begin
