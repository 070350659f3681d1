// SPDX-License-Identifier: GPL-2.0-or-later
// A VM on this node: its QEMU, its run record, and the one thing that is being done to it.
#pragma once

#include "agent/agent.h"
#include "hvcore/vm.h"
#include "migrate/area.h"

enum {
    AGENT_ADOPT_PATIENCE_MS = 15 * 1000, // at vmferryd's start, for storage that hangs
    // Of the time that a stop has, from its beginning: until then the memory may be saved, and until
    // then the guest may shut itself down; then QEMU is killed. What is left is for its end.
    AGENT_STOP_SAVE_PERCENT = 60,
    AGENT_STOP_KILL_PERCENT = 90,
};

typedef struct AgentVm AgentVm;
typedef struct AgentMoveOut AgentMoveOut;
typedef struct AgentMoveIn AgentMoveIn;
typedef struct AgentLoad AgentLoad;
typedef struct AgentStay AgentStay;
typedef struct AgentGuestTime AgentGuestTime;
typedef struct AgentQuarantine AgentQuarantine;

typedef enum {
    AGENT_VM_UNKNOWN,  // not looked yet, or could not find out
    AGENT_VM_ABSENT,   // proven: no QEMU here
    AGENT_VM_STARTING, // cold start or restore
    AGENT_VM_RUNNING,
    AGENT_VM_LEAVING,  // save or move under way (AgentVm.out)
    AGENT_VM_INCOMING, // target of a move (AgentVm.in)
    AGENT_VM_STRANDED, // paused behind a sealed image whose target was lost: Pacemaker decides
    AGENT_VM_STOPPING, // shutdown or power-off under way
} AgentVmState;
const char *agent_vm_state_name(AgentVmState state);

// ERROR is borrowed, NULL on success.
typedef void (*AgentVmDone)(AgentVm *vm, const GError *error, gpointer data);

struct AgentVm {
    Agent *agent;
    char *name;
    HvDefinition *definition; // what runs, or was asked for last
    HvDefinition *saved_definition; // what the sealed image was saved with, once it was read
    HvVm *hv;                 // NULL where there is no QEMU
    AgentVmState state;
    FerryRecord record;       // as last seen; record.sequence 0 = never
    unsigned record_asked, record_seen; // reads and writes of it so far, and which of them RECORD is of
    AgentMoveOut *out;
    AgentMoveIn *in;
    AgentLoad *load;  // it runs, but its pages are still being loaded
    AgentStay *stay;  // its move is or was given up, and Pacemaker is kept from recovering it
    AgentQuarantine *quarantine; // that load failed: QEMU goes, then the record is written
    GError *start_error; // why a start was given up; told when its QEMU is gone
    GQueue starts;   // waiters for RUNNING
    GQueue stops;    // waiters for ABSENT
    GQueue departs;  // waiters for the end of a move out
    GQueue arrivals; // waiters for the end of a move in
    GQueue loads;    // waiters for a record that allows a save again
    AgentJob *load_job; // of the save or move that is first among them
    char *stop_mode; // asked for by an admin for the next stop; NULL = the definition's on_stop
    gint64 stop_begun_us;     // the stop under way
    unsigned stop_timeout_ms; // within which it is of use to Pacemaker
    guint stop_timer;         // until a save is given up
    guint stop_end_timer;     // until QEMU is killed, then until the stop has failed
    AgentGuestTime *guest_time; // its clock is being set
    guint disk_timer;  // to continue a guest that waits for space on a disk
    guint retry_timer; // to reach QEMU's monitor, or the record, again
    bool settling;         // record RUNNING is being written again
    unsigned saves;   // tries in the stop under way
    guint save_timer; // to the next one
    bool killing;    // the stop's last resort was taken
    bool start_void; // a stop has ended during the start, which must not go on when storage answers
    uint64_t monitored_epoch; // of the record, when Pacemaker monitored the running VM last
    unsigned writes; // of the record, that storage has not answered yet
    unsigned mounts; // of its own file systems, that have not come back yet
    bool giving_back; // its storage, which comes before "stopped"
    guint give_back_timer; // to the next try
    char *last_error; // of the last start, NULL where it went well
    gint64 last_error_ms; // wall clock
    json_t *last_move;
};

AgentVm *agent_vm_find(Agent *agent, const char *name);    // NULL where unknown here
AgentVm *agent_vm_ensure(Agent *agent, const char *name);
void agent_vm_free(AgentVm *vm);

// The definition as the CIB has it now, for keys that apply to a running guest; where it has none, the
// one that runs. New reference.
HvDefinition *agent_vm_wanted(const AgentVm *vm);
// Whether the VM has a QEMU of its own right here (or may have): running, or paused as its owner.
bool agent_vm_is_here(const AgentVm *vm);

void agent_vm_set_state(AgentVm *vm, AgentVmState state);
// The QEMU object with callbacks into this VM; replaces an earlier one.
void agent_vm_attach(AgentVm *vm, const HvDefinition *definition);
void agent_vm_detach(AgentVm *vm);

void agent_vm_wait(GQueue *queue, AgentVmDone done, gpointer data);
void agent_vm_wake(AgentVm *vm, GQueue *queue, const GError *error);

// Starts from saved memory where the record has a sealed image, cold otherwise.
void agent_vm_start(AgentVm *vm, HvDefinition *definition, AgentVmDone done, gpointer data);
void agent_vm_start_restored(AgentVm *vm, const GError *error); // the restore's end
void agent_vm_start_exited(AgentVm *vm);                        // QEMU ended in AGENT_VM_STARTING

// Stops as vm->stop_mode or on_stop say. DONE comes within TIMEOUT_MS whatever guest, QEMU and storage
// do: with an error where QEMU is not proven gone, or the storage has not answered a write of the
// record, which may still come about.
void agent_vm_stop(AgentVm *vm, unsigned timeout_ms, AgentVmDone done, gpointer data);
// Looks whether a stop that was asked for can go on; called at each change of state.
void agent_vm_stop_step(AgentVm *vm);
void agent_vm_stop_exited(AgentVm *vm); // QEMU ended in AGENT_VM_STOPPING

// Finds all QEMU processes of this node again and ends those that have no right to run.
void agent_vm_adopt_all(Agent *agent, void (*done)(Agent *agent));
void agent_vm_leftover_exited(AgentVm *vm); // QEMU ended in AGENT_VM_UNKNOWN
// Asks the targets of VMs that were found paused behind a sealed image. Needs the cluster.
void agent_vm_settle_adopted(Agent *agent);

// After a change of the membership: VMs that run here and were started elsewhere meanwhile are ended. The
// second is for one whose record was just read.
void agent_vm_check_rights(Agent *agent);
void agent_vm_check_right(AgentVm *vm, const FerryRecord *record);

// The record, off the main loop. RECORD and ERROR are borrowed.
typedef void (*AgentRecordFn)(AgentVm *vm, const FerryRecord *record, const GError *error,
                              gpointer data);
void agent_record_read(AgentVm *vm, AgentRecordFn done, gpointer data);
// The same where the VM's QEMU is here: a write of RUNNING that has damaged a slot beside CONSUMED, in
// QEMU's own epoch, is not in the way; the next write goes over that slot.
void agent_record_read_running(AgentVm *vm, AgentRecordFn done, gpointer data);
void agent_record_write(AgentVm *vm, const FerryRecord *record, uint64_t expected,
                        AgentRecordFn done, gpointer data);
// Checks the node and the state area, then reads its record, and where that is sealed the definition
// that its image was saved with. Makes nothing: a state area that is missing here may hold the VM's
// memory elsewhere.
void agent_record_check(AgentVm *vm, AgentRecordFn done, gpointer data);
