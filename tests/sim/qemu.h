// SPDX-License-Identifier: GPL-2.0-or-later
// What the simulated QEMU shares with saver and pager.
#pragma once

#include "hvcore/vm.h"
#include "tests/sim/world.h"

struct SimQemu {
    SimActor actor;
    SimNode *node;
    unsigned copy; // the oracle's number
    bool alive, dying;
    HvRunState run_state;
    HvLaunchMode mode;
    bool lazy, autostart;
    bool waits; // its main loop, for a page that only another pager brings: its monitor is silent
    HvMigrationStatus outgoing, incoming;
    gint64 pass_ends_us; // of the last pass of a save
    guint pass;          // its event
    uint64_t epoch;      // in process.json
    HvVm *vm;            // that is connected
    gint64 told_us, heard_us;
};

void sim_qemu_set_run_state(SimQemu *qemu, HvRunState state);
void sim_qemu_tell_migration(SimQemu *qemu, HvMigrationStatus status);
void sim_qemu_kill(SimQemu *qemu); // SIGKILL

// --- helpers.c: saver, pager ---
bool sim_save_begin(SimQemu *qemu); // false: nobody listens
void sim_save_end(SimQemu *qemu);
void sim_helpers_qemu_gone(SimQemu *qemu);
void sim_helpers_agent_gone(SimNode *node);
void sim_helpers_node_lost(SimNode *node);
void sim_helpers_reset(void);
bool sim_kill_saver(SimNode *node); // false: there is none
bool sim_kill_pager(SimNode *node);
