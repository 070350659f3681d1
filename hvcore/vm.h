// SPDX-License-Identifier: GPL-2.0-or-later
// One VM's QEMU process on this node: started, found again, commanded and proven gone. All
// functions and callbacks run on the thread of the default GMainContext; none blocks except where
// said. Only hvcore/ knows QEMU's JSON.
//
// A connection that ends while QEMU lives makes the run state HV_RUN_UNKNOWN; hv_vm_adopt on the
// same object connects again.
//
// Every asynchronous call takes an HvDoneFn that is called exactly once, later, from the main loop,
// with NULL or an error that it borrows. A call whose deadline passes gets HV_ERROR_TIMEOUT; when
// QEMU goes away all calls under way get HV_ERROR_CLOSED. After hv_vm_free no callback is called.
// DONE may be NULL where the caller learns the outcome otherwise (cont, pause, powerdown, quit,
// announce, save_end).
#pragma once

#include "hvcore/definition.h"
#include "hvcore/node.h"
#include <sys/types.h>

typedef struct HvVm HvVm;

// Mirrors QEMU's run states as far as vmferry tells them apart.
typedef enum {
    HV_RUN_UNKNOWN,   // not asked yet, or the monitor does not answer
    HV_RUN_PRELAUNCH, // -S, never run
    HV_RUN_INMIGRATE, // waits for or loads an incoming image
    HV_RUN_RUNNING,
    HV_RUN_PAUSED,         // stopped by `stop`, or loaded with -S
    HV_RUN_POSTMIGRATE,    // stopped after an outgoing migration; hv_vm_cont is the way back
    HV_RUN_FINISH_MIGRATE, // stopped for the last pass of an outgoing migration
    HV_RUN_SHUTDOWN,       // the guest powered off, QEMU is still there
    HV_RUN_ERROR,          // internal-error, guest-panicked, watchdog: the guest cannot go on
    HV_RUN_IO_ERROR,       // a disk has no space: the guest and its requests wait; hv_vm_cont tries again
} HvRunState;
const char *hv_run_state_name(HvRunState state);

typedef enum { HV_LAUNCH_COLD, HV_LAUNCH_INCOMING } HvLaunchMode;

typedef enum {
    HV_MIGRATION_NONE,
    HV_MIGRATION_ACTIVE,
    HV_MIGRATION_PAUSED, // a lazy load whose pager went away; QEMU does not always tell
    HV_MIGRATION_COMPLETED,
    HV_MIGRATION_FAILED,
    HV_MIGRATION_CANCELLED,
} HvMigrationStatus;

typedef struct {
    HvMigrationStatus status;
    uint64_t ram_total, ram_remaining, ram_transferred; // bytes
    uint64_t dirty_rate;                                // bytes/s
    uint32_t passes;                                    // dirty-sync-count
    uint32_t throttle; // per cent of its CPU time that QEMU takes from the guest now
    uint32_t downtime_ms;                               // as QEMU measured it, once completed
    char error[256];                                    // QEMU's error-desc or empty
} HvMigration;

typedef void (*HvDoneFn)(HvVm *vm, const GError *error, gpointer data);
typedef void (*HvMigrationFn)(HvVm *vm, const HvMigration *migration, const GError *error,
                              gpointer data);

typedef struct {
    // The process is proven gone (pidfd readable, reaped where it was our child). STATUS is from
    // waitpid, or -1 where QEMU was not our child. The VM object stays until freed.
    void (*exited)(HvVm *vm, int status, gpointer data);
    // QEMU's run state changed (events STOP, RESUME, SHUTDOWN, ... and answers to query-status).
    void (*run_state)(HvVm *vm, HvRunState state, gpointer data);
    // An outgoing or incoming migration changed its status (event MIGRATION; the capability
    // "events" is always on) .
    void (*migration)(HvVm *vm, HvMigrationStatus status, gpointer data);
    // The guest asked for a reset or power-off by itself. REASON as in QEMU's event SHUTDOWN.
    void (*guest_shutdown)(HvVm *vm, const char *reason, gpointer data);
} HvVmEvents;

// RUN_DIR/NAME/ holds the VM's sockets, log and process.json (pid, start time, uuid, definition,
// epoch), which is all that is needed to find it again. EVENTS is copied.
HvVm *hv_vm_new(const HvDefinition *definition, const HvNode *node, const char *run_dir,
                const HvVmEvents *events, gpointer data);
// Ends the monitor connection and frees; never ends QEMU.
void hv_vm_free(HvVm *vm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HvVm, hv_vm_free)

// Starts QEMU with -S in a session of its own. DONE without error: QMP answers, taps are on their
// bridges, disks are open (HV_LAUNCH_INCOMING: inactive, `-incoming defer`). On error the process
// is gone and the message holds QEMU's own words (HV_ERROR_START; HV_ERROR_RESOURCE for a tap);
// DONE waits for that proof, however long a hanging storage delays it, and `exited` is not called.
// NODE's strings were copied by hv_vm_new. EPOCH is kept in process.json.
void hv_vm_launch(HvVm *vm, HvLaunchMode mode, uint64_t epoch, HvDoneFn done, gpointer data);

// Finds the QEMU of VM's name again by process.json: pid + start time, then pidfd, then QMP and its
// uuid. HV_ERROR_NOT_RUNNING: proven that there is none. HV_ERROR_UNKNOWN: could not tell; where
// the process is there but its monitor silent, hv_vm_process_alive says so and hv_vm_kill works.
// From then on hv_vm_definition is the one QEMU was started with.
void hv_vm_adopt(HvVm *vm, HvDoneFn done, gpointer data);
// The names of VMs in RUN_DIR that have a process.json, running or not; free with g_strfreev.
char **hv_vm_list(const char *run_dir, GError **error);
// Removes RUN_DIR/NAME, for a VM that is deleted. HV_ERROR_UNKNOWN where its QEMU is not proven
// gone.
bool hv_vm_forget(const char *run_dir, const char *name, GError **error);
// The definition and the epoch that process.json of NAME records.
HvDefinition *hv_vm_recorded(const char *run_dir, const char *name, uint64_t *epoch,
                             GError **error);

// RUN_DIR/NAME/qemu/FILE, where QEMU can make a file or a socket; the caller frees.
char *hv_vm_qemu_file(const char *run_dir, const char *name, const char *file);

const HvDefinition *hv_vm_definition(const HvVm *vm);
bool hv_vm_process_alive(const HvVm *vm); // false only when proven gone or never started
pid_t hv_vm_pid(const HvVm *vm);          // 0 where there is none
HvRunState hv_vm_run_state(const HvVm *vm);
HvMigrationStatus hv_vm_migration(const HvVm *vm); // as the event migration told it last
// Bytes of memory that QEMU has; 0 where that says nothing of the guest's (huge pages, no process).
uint64_t hv_vm_resident(const HvVm *vm);
uint64_t hv_vm_epoch(const HvVm *vm);
bool hv_vm_set_epoch(HvVm *vm, uint64_t epoch, GError **error); // rewrites process.json
// Why the definition's resource limits are not applied to this QEMU; NULL where they are, or where
// there are none. Set by hv_vm_launch.
const char *hv_vm_resources_note(const HvVm *vm);
const char *hv_vm_console_path(const HvVm *vm); // unix socket, NULL without serial
const char *hv_vm_guest_agent_path(const HvVm *vm); // unix socket, NULL without guest_agent

void hv_vm_query_status(HvVm *vm, unsigned deadline_ms, HvDoneFn done, gpointer data);
void hv_vm_cont(HvVm *vm, HvDoneFn done, gpointer data);
void hv_vm_pause(HvVm *vm, HvDoneFn done, gpointer data);
void hv_vm_powerdown(HvVm *vm, HvDoneFn done, gpointer data); // ACPI button; DONE: QEMU took it
void hv_vm_quit(HvVm *vm, HvDoneFn done, gpointer data);      // DONE: QEMU took it; see exited
bool hv_vm_kill(HvVm *vm, GError **error);                    // SIGKILL by pidfd; see exited
// Gratuitous ARP/RARP on all NICs (announce-self).
void hv_vm_announce(HvVm *vm, HvDoneFn done, gpointer data);

// Saves to the unix socket at PATH, which QEMU's user is given, while the guest runs: max-bandwidth
// unlimited, downtime-limit DOWNTIME_MS. DONE: QEMU has begun; watch the migration event. After
// HV_MIGRATION_COMPLETED wait for HV_RUN_POSTMIGRATE before hv_vm_cont: until then QEMU refuses it.
void hv_vm_save(HvVm *vm, const char *path, unsigned downtime_ms, HvDoneFn done, gpointer data);
// How much of its CPU time QEMU may take, in per cent, from a guest whose memory changes too fast for
// the saves from now on (auto-converge, in steps of 20; QEMU ends it with the save, however that
// ends); 0, as at first: none.
void hv_vm_set_max_throttle(HvVm *vm, unsigned percent);
// Changes the downtime limit of the save that is under way.
void hv_vm_save_limit(HvVm *vm, unsigned downtime_ms, HvDoneFn done, gpointer data);
// Ends the save whose reader is gone (its end of the socket closed): waits until QEMU has noticed, and
// only where that takes seconds cancels the migration. DONE: no migration is active any more; the guest
// runs on by itself, or hv_vm_cont is the way back. DONE is not NULL.
void hv_vm_save_end(HvVm *vm, HvDoneFn done, gpointer data);
// QEMU listens on the unix socket at PATH, in hv_vm_qemu_file's directory, for the image
// (HV_LAUNCH_INCOMING only); LAZY turns the
// capability postcopy-ram on first. DONE: it listens. The image is loaded, or (LAZY) the guest
// ready to run while pages are still coming, when the run state is HV_RUN_PAUSED. On an image that
// it cannot load QEMU ends: `exited`.
void hv_vm_load(HvVm *vm, const char *path, bool lazy, HvDoneFn done, gpointer data);
void hv_vm_query_migration(HvVm *vm, HvMigrationFn done, gpointer data);

// --- Without a main loop, for the resource agent when vmferryd is down. Blocking. ---

typedef enum { HV_PROCESS_GONE, HV_PROCESS_ALIVE, HV_PROCESS_UNKNOWN } HvProcessState;
// Looks for NAME's QEMU by process.json and pidfd; for a live one asks its second monitor for the
// run state within DEADLINE_MS (RUN_STATE may be NULL). HV_PROCESS_GONE is proof.
HvProcessState hv_process_look(const char *run_dir, const char *name, unsigned deadline_ms,
                               HvRunState *run_state, GError **error);
// Makes NAME's QEMU, whose lazy load lost its pager, listen for another one on the unix socket at
// PATH; waits until it is ready for that. Works while the guest and QEMU's main loop wait for a page.
bool hv_process_recover(const char *run_dir, const char *name, const char *path,
                        unsigned deadline_ms, GError **error);
enum { HV_ASK_MS = 2000 }; // for each question to QEMU's other monitors
// The same at once: HV_ERROR_QMP where QEMU is not ready for that, because its pager works, or the load
// is over, or it has not noticed yet that its pager is gone.
bool hv_process_recover_now(const char *run_dir, const char *name, const char *path,
                            GError **error);
// Asks NAME's QEMU to power the guest down (ACPI), waits GRACE_MS at most (not at all where the
// guest does not run or the monitor is silent), then kills it by pidfd and waits
// until it is gone, KILL_MS at most. True: proven gone.
bool hv_process_end(const char *run_dir, const char *name, unsigned grace_ms, unsigned kill_ms,
                    GError **error);
