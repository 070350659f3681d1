// SPDX-License-Identifier: GPL-2.0-or-later
// The judge of a schedule. It knows nothing of how vmferry works: it is told what happens to copies
// of the guest (one copy = one QEMU process), to the guest's disk and to its memory, as one would
// see it from outside with a logic analyser, and says what must never happen. Includes nothing of
// the product.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { ORACLE_COPIES = 512, ORACLE_MEMORIES = 512, ORACLE_TEXT = 256 };

// Who ended a copy.
typedef enum {
    ORACLE_BY_ITSELF, // the guest powered off
    ORACLE_BY_FAULT,  // the fault itself: QEMU killed, node without power
    ORACLE_BY_FENCING,
    ORACLE_BY_PRODUCT,
} OracleEnd;

typedef struct {
    enum { COPY_NONE, COPY_PAUSED, COPY_RUNNING, COPY_GONE } state;
    int node;
    unsigned memory;     // the saved memory it holds since it was loaded; 0 = a cold boot
    uint64_t generation; // of the disk, as this copy's memory knows it
    unsigned snapshot; // memory that was saved of it while it was paused; 0 = none, or it ran since
    bool has_run;
} OracleCopy;

typedef struct {
    uint64_t generation; // of the disk, when it was saved
    bool resumed;
    unsigned copy; // that it was saved from
} OracleMemory;

typedef struct {
    OracleCopy copies[ORACLE_COPIES];
    OracleMemory memories[ORACLE_MEMORIES];
    unsigned n_copies, n_memories;
    uint64_t disk; // generation: how often the guest wrote
    unsigned running;
    bool has_memory;          // the guest has run, and nothing has taken its memory away rightfully
    unsigned lost_to_product; // cold boots of a guest whose memory the product itself gave up
    unsigned lost_to_others;  // cold boots after faults, fencing
    unsigned resumptions;
    bool violated;
    char why[ORACLE_TEXT]; // the first violation
} Oracle;

void oracle_init(Oracle *oracle);
unsigned oracle_copy_new(Oracle *oracle, int node); // paused, without any memory of the guest
void oracle_runs(Oracle *oracle, unsigned copy);    // its vCPUs begin to execute
void oracle_pauses(Oracle *oracle, unsigned copy);
void oracle_ends(Oracle *oracle, unsigned copy, OracleEnd end);
void oracle_writes(Oracle *oracle, unsigned copy);    // the guest writes to its disk
unsigned oracle_saved(Oracle *oracle, unsigned copy); // its memory was saved; a number for it
void oracle_loaded(Oracle *oracle, unsigned copy, unsigned memory);
void oracle_violates(Oracle *oracle, const char *format, ...) __attribute__((format(printf, 2, 3)));
