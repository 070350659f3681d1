// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/sim/report.h"

#include "tests/sim/fault.h"
#include "tests/sim/node.h"

#include <stdio.h>
#include <string.h>

SimReport *sim_report;

static const char *const phases[SIM_PHASES] = {
    "idle", "start",  "stop",  "migrate_to", "rehearse",    "ready",        "save",    "pause",
    "load", "commit", "clean", "return",     "finish-load", "migrate_from", "fencing", "?"};

static const char *phase_now(void)
{
    for (unsigned i = 0; i < world.nodes; i++)
        if (!world.node[i].on)
            return "fencing";
    if (strcmp(world.phase, "idle") != 0)
        return world.phase;
    return sim_pacemaker_doing();
}

void sim_report_fault(SimFault fault)
{
    const char *now = phase_now();
    unsigned at = 0;
    while (at < SIM_PHASES - 1 && strcmp(phases[at], now) != 0)
        at++;
    sim_report->faults[fault][at]++;
}

void sim_report_schedule(SimEnd end)
{
    SimReport *report = sim_report;
    report->schedules++;
    report->steps += world.steps;
    report->violations += end == END_VIOLATION;
    report->ends[end]++;
    report->none += world.faults == 0;
    report->one += world.faults == 1;
    report->more += world.faults > 1;
    report->moves += world.moves_done;
    report->given_up += world.moves_given_up;
    report->cold += world.cold_starts;
    report->restored += world.restores;
    report->taken_back += world.takebacks;
    report->fenced += world.fences;
    report->resumptions += world.oracle.resumptions;
}

void sim_report_add(SimReport *sum, const SimReport *other)
{
    G_STATIC_ASSERT(sizeof *sum % sizeof(uint64_t) == 0);
    for (size_t i = 0; i < sizeof *sum / sizeof(uint64_t); i++)
        ((uint64_t *)sum)[i] += ((const uint64_t *)other)[i];
}

static void print_faults(const SimReport *report)
{
    printf("\nfaults by the phase in which they struck\n%-16s %9s", "", "all");
    for (unsigned phase = 0; phase < SIM_PHASES - 1; phase++)
        printf(" %12s", phases[phase]);
    printf("\n");
    for (unsigned fault = 0; fault < SIM_N_FAULTS; fault++) {
        uint64_t all = 0;
        for (unsigned phase = 0; phase < SIM_PHASES; phase++)
            all += report->faults[fault][phase];
        printf("%-16s %9llu", sim_fault_name((SimFault)fault), (unsigned long long)all);
        for (unsigned phase = 0; phase < SIM_PHASES - 1; phase++)
            printf(" %12llu", (unsigned long long)report->faults[fault][phase]);
        printf("\n");
    }
}

void sim_report_print(const SimReport *report, double seconds, unsigned jobs)
{
    static const char *const ends[] = {
#define SIM_END(id, text) text,
#include "tests/sim/ends.def"
    };
    print_faults(report);
    printf("\nschedules without a fault %llu, with one %llu, with more %llu\n",
           (unsigned long long)report->none, (unsigned long long)report->one,
           (unsigned long long)report->more);
    printf("moves done %llu, given up %llu; restores %llu, cold starts %llu, guests taken back or "
           "resumed %llu; nodes fenced %llu\n",
           (unsigned long long)report->moves, (unsigned long long)report->given_up,
           (unsigned long long)report->restored, (unsigned long long)report->cold,
           (unsigned long long)report->resumptions, (unsigned long long)report->fenced);
    for (unsigned end = 0; end < SIM_N_ENDS; end++)
        printf("%10llu  %s\n", (unsigned long long)report->ends[end], ends[end]);
    printf("%llu schedules, %llu steps, %llu violations, %.1f s (%u jobs, %.3f ms of CPU each)\n",
           (unsigned long long)report->schedules, (unsigned long long)report->steps,
           (unsigned long long)report->violations, seconds, jobs,
           report->schedules == 0 ? 0.0 : seconds * 1000 * jobs / (double)report->schedules);
}
