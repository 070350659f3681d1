// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/sim/oracle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void oracle_init(Oracle *oracle)
{
    oracle->n_copies = oracle->n_memories = 1; // 0 stands for none
    oracle->disk = 0;
    oracle->running = oracle->lost_to_product = oracle->lost_to_others = oracle->resumptions = 0;
    oracle->has_memory = oracle->violated = false;
    oracle->why[0] = '\0';
}

void oracle_violates(Oracle *oracle, const char *format, ...)
{
    if (oracle->violated)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(oracle->why, sizeof oracle->why, format, arguments);
    va_end(arguments);
    oracle->violated = true;
}

unsigned oracle_copy_new(Oracle *oracle, int node)
{
    if (oracle->n_copies == ORACLE_COPIES)
        abort();
    oracle->copies[oracle->n_copies] = (OracleCopy){.state = COPY_PAUSED, .node = node};
    return oracle->n_copies++;
}

// Rule: memory is resumed once, wherever that is: by whom it was saved of, or by who loaded it.
static void resume(Oracle *oracle, unsigned memory, unsigned copy)
{
    OracleMemory *resumed = &oracle->memories[memory];
    if (resumed->resumed)
        oracle_violates(oracle, "memory %u is resumed a second time, by copy %u", memory, copy);
    if (resumed->generation != oracle->disk)
        oracle_violates(oracle,
                        "copy %u resumes memory %u of disk generation %llu, but the disk has %llu",
                        copy, memory, (unsigned long long)resumed->generation,
                        (unsigned long long)oracle->disk);
    resumed->resumed = true;
    oracle->resumptions++;
}

static void boots(Oracle *oracle, OracleCopy *copy)
{
    copy->generation = oracle->disk;
    if (oracle->has_memory)
        oracle->lost_to_product++;
    oracle->has_memory = true;
}

void oracle_runs(Oracle *oracle, unsigned number)
{
    OracleCopy *copy = &oracle->copies[number];
    if (copy->state == COPY_RUNNING)
        return;
    if (copy->state == COPY_GONE)
        oracle_violates(oracle, "copy %u runs after its end", number);
    for (unsigned i = 1; i < oracle->n_copies; i++)
        if (oracle->copies[i].state == COPY_RUNNING)
            oracle_violates(oracle, "copies %u (node %d) and %u (node %d) run at the same time", i,
                            oracle->copies[i].node + 1, number, copy->node + 1);
    if (copy->snapshot != 0)
        resume(oracle, copy->snapshot, number);
    else if (!copy->has_run && copy->memory != 0)
        resume(oracle, copy->memory, number);
    else if (!copy->has_run)
        boots(oracle, copy);
    if (copy->generation != oracle->disk)
        oracle_violates(oracle, "copy %u goes on from disk generation %llu, but the disk has %llu",
                        number, (unsigned long long)copy->generation,
                        (unsigned long long)oracle->disk);
    copy->snapshot = 0;
    copy->has_run = true;
    copy->state = COPY_RUNNING;
    oracle->running++;
}

void oracle_pauses(Oracle *oracle, unsigned number)
{
    OracleCopy *copy = &oracle->copies[number];
    if (copy->state != COPY_RUNNING)
        return;
    copy->state = COPY_PAUSED;
    oracle->running--;
}

// Whether the guest's memory is left anywhere else: saved and not resumed.
static bool is_saved(const Oracle *oracle)
{
    const OracleMemory *last = &oracle->memories[oracle->n_memories - 1];
    return oracle->n_memories > 1 && !last->resumed && last->generation == oracle->disk;
}

void oracle_ends(Oracle *oracle, unsigned number, OracleEnd end)
{
    OracleCopy *copy = &oracle->copies[number];
    if (copy->state == COPY_GONE)
        return;
    oracle_pauses(oracle, number);
    bool held_it = copy->has_run && copy->generation == oracle->disk;
    copy->state = COPY_GONE;
    if (held_it && end != ORACLE_BY_PRODUCT && !is_saved(oracle)) {
        if (end != ORACLE_BY_ITSELF && oracle->has_memory)
            oracle->lost_to_others++;
        oracle->has_memory = false;
    }
}

void oracle_writes(Oracle *oracle, unsigned number)
{
    OracleCopy *copy = &oracle->copies[number];
    if (copy->state != COPY_RUNNING)
        oracle_violates(oracle, "copy %u writes while it does not run", number);
    if (copy->generation != oracle->disk)
        oracle_violates(oracle, "copy %u knows disk generation %llu and writes to %llu", number,
                        (unsigned long long)copy->generation, (unsigned long long)oracle->disk);
    copy->generation = ++oracle->disk;
}

unsigned oracle_saved(Oracle *oracle, unsigned number)
{
    if (oracle->n_memories == ORACLE_MEMORIES)
        abort();
    OracleCopy *copy = &oracle->copies[number];
    if (copy->state == COPY_RUNNING)
        oracle_violates(oracle, "copy %u runs on while its last memory is saved", number);
    oracle->memories[oracle->n_memories] =
        (OracleMemory){.generation = copy->generation, .copy = number};
    copy->snapshot = oracle->n_memories;
    return oracle->n_memories++;
}

void oracle_loaded(Oracle *oracle, unsigned number, unsigned memory)
{
    OracleCopy *copy = &oracle->copies[number];
    if (copy->has_run)
        oracle_violates(oracle, "memory %u is loaded into copy %u, which has run", memory, number);
    copy->memory = memory;
    copy->generation = oracle->memories[memory].generation;
}
