// SPDX-License-Identifier: GPL-2.0-or-later
// A cluster of two or three nodes in one process and one thread, in fake time. The product's own
// code runs in it: agent/ and migrate/ are linked in, and what they stand on is fake (GLib's timers
// and clock, storage, QEMU, saver, pager, corosync, Pacemaker). One world at a time.
#pragma once

#include "agent/vm.h"
#include "tests/sim/oracle.h"
#include "tests/sim/random.h"

enum {
    SIM_NODES = 3,
    SIM_QEMUS = 400, // in one schedule
    SIM_MS = 1000,
    SIM_S = 1000 * 1000,
};
#define SIM_VM "vm"
#define SIM_UUID "6f1c0a52-3f0c-4c39-9e0a-000000000001"
#define SIM_AREA "/shared/vm.area"

typedef struct SimNode SimNode;
typedef struct SimQemu SimQemu;
typedef struct SimSaver SimSaver;
typedef struct SimPager SimPager;
typedef struct SimRa SimRa;

// Something that acts: an agent, a QEMU, a node. What it was going to do is forgotten when its life
// ends, and waits while it is frozen.
typedef struct {
    SimNode *node; // NULL: the world itself
    unsigned life;
    bool frozen;
} SimActor;

typedef void (*SimFn)(gpointer data);

typedef enum {
#define SIM_FAULT(id, name, hard, text) FAULT_##id,
#include "tests/sim/faults.def"
    SIM_N_FAULTS,
} SimFault;

typedef enum {
#define SIM_END(id, text) END_##id,
#include "tests/sim/ends.def"
    SIM_N_ENDS,
} SimEnd;

// What the node's Pacemaker remembers of the VM.
typedef struct {
    bool active, failed, stop_failed, banned, probed, standby;
    bool move_failed; // migrate_to
    bool arrived;     // migrate_from
    int moved_to;     // migrate_to is over, the rest of the move is to come; -1: none
    SimNode *target;  // of a migrate_to, until all of the move is over
    SimRa *op;        // under way
} SimLrm;

struct SimNode {
    int index;
    char name[16], run_dir[32];
    bool on;
    bool clean;       // down, and Pacemaker knows it
    unsigned view;    // the nodes of its membership, as bits
    bool seen_all;    // two_node's wait_for_all
    bool agent_known; // vmferryd was ready once since the node's start
    SimActor os, agent_process;
    Agent *agent; // NULL: vmferryd does not run
    bool dying;   // vmferryd was killed, but storage still holds a thread of it
    AgentCluster *cluster;
    gint64 inbox_us, outbox_us, pipe_us; // what comes later must not overtake
    gint64 slow_until_us;                // CPG is slow
    int component;                       // nodes with the same number hear each other
    SimQemu *qemu;                       // named by process.json; NULL: no such file
    char *note;                          // agent/quarantine.c's
    SimSaver *saver;
    SimPager *pager;
    SimLrm lrm;
    gint64 hang_until_us; // its I/O does not end before
    bool only_writes_hang;
    int io_errors; // so many of its next writes fail
    bool no_space;
};

typedef struct {
    unsigned nodes;
    bool two_node; // with two nodes: corosync's two_node, else a quorum device
    gint64 began_us, now_us;
    SimActor actor;
    SimNode node[SIM_NODES];
    SimNode *here; // whose code runs now
    bool tracing;
    Oracle oracle;
    uint64_t steps;    // what has happened besides the clockwork
    const char *phase; // of the job that told one last
    bool healed;       // no fault comes any more
    bool role_started, keeps_memory;
    int prefer, prefer_owner;  // vmferry-move-vm; -1: none
    uint64_t witnessed_epoch;  // in the CIB
    unsigned fencing_failures; // to come
    unsigned faults, hard_faults, storage_damage, fences, node_losses;
    unsigned moves_asked, moves_done, moves_given_up, cold_starts, restores, takebacks;
    char last_error[256]; // as `vmferry events` has it
} World;
extern World world;

void sim_trace(const char *format, ...) G_GNUC_PRINTF(1, 2);
#define SIM_TRACE(...)                                                                             \
    do {                                                                                           \
        if (world.tracing)                                                                         \
            sim_trace(__VA_ARGS__);                                                                \
    } while (0)

// --- clock.c ---
void sim_clock_reset(void);
// FN(DATA) after US, unless ACTOR's life ends before; then DESTROY(DATA), which may be NULL.
guint sim_after(SimActor *actor, gint64 us, SimFn fn, gpointer data, GDestroyNotify destroy);
// The same, but it is no step.
guint sim_quietly_after(SimActor *actor, gint64 us, SimFn fn, gpointer data,
                        GDestroyNotify destroy);
void sim_cancel(guint id);
bool sim_step(void); // false: nothing is left to happen
void sim_end_life(SimActor *actor);
void sim_freeze(SimActor *actor, bool frozen);
// A duration around TYPICAL_US, at times much longer.
gint64 sim_around(gint64 typical_us);
gint64 sim_between(gint64 least_us, gint64 most_us);
// As sim_around, for what must not overtake what came before on its way, at *LAST_US.
gint64 sim_in_order(gint64 *last_us, gint64 typical_us);

// --- storage.c ---
void sim_storage_reset(void);
void sim_storage_node_lost(SimNode *node);   // its I/O under way: gone, or landed, or torn
bool sim_storage_agent_lost(SimNode *node);  // false: I/O under way does not end yet
void sim_storage_forget_jobs(SimNode *node); // after its VMs were freed
void sim_sleep(gint64 us);                   // inside of a job
// What ferry_area_read_record says; WHY where it says no.
bool sim_storage_is_readable(FerryRecord *record, char *why, size_t length);

// --- qemu.c ---
void sim_qemu_reset(void);
void sim_qemu_killed(SimQemu *qemu, OracleEnd end); // at once
bool sim_qemu_lives(const SimQemu *qemu);           // NULL: false
