// SPDX-License-Identifier: GPL-2.0-or-later
// sim --seed N: one schedule with its trace. sim --schedules N [--first N] [--jobs N]: that many,
// with what they met; a violation prints its seed. Exits with 1 where there was one.
#include "tests/sim/report.h"
#include "tests/sim/schedule.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 5000, TOLD = 20 };

typedef struct {
    gint64 seed, schedules, first, jobs;
    gboolean mutated; // one violation is enough, and is what is asked for
} Options;

static bool parse(int argc, char **argv, Options *options)
{
    const GOptionEntry entries[] = {
        {"seed", 0, 0, G_OPTION_ARG_INT64, &options->seed, "replay this one, with its trace", "N"},
        {"schedules", 0, 0, G_OPTION_ARG_INT64, &options->schedules, "how many", "N"},
        {"first", 0, 0, G_OPTION_ARG_INT64, &options->first, "the first one's seed", "N"},
        {"jobs", 0, 0, G_OPTION_ARG_INT64, &options->jobs, "processes", "N"},
        {"mutated", 0, 0, G_OPTION_ARG_NONE, &options->mutated,
         "succeed with the first violation, fail without one", NULL},
        {NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (g_option_context_parse(context, &argc, &argv, &error))
        return true;
    fprintf(stderr, "sim: %s\n", error->message);
    return false;
}

// Shared by all processes.
typedef struct {
    gint64 next, violations;
    SimReport reports[64];
} Shared;

static bool is_enough(const Shared *shared, const Options *options)
{
    return options->mutated && __atomic_load_n(&shared->violations, __ATOMIC_RELAXED) > 0;
}

static void run_chunk(Shared *shared, const Options *options, gint64 first, unsigned job)
{
    gint64 end = MIN(first + CHUNK, options->first + options->schedules);
    sim_report = &shared->reports[job];
    for (gint64 seed = first; seed < end; seed++) {
        if (is_enough(shared, options))
            return;
        if (sim_schedule((uint64_t)seed, false) != END_VIOLATION)
            continue;
        if (__atomic_add_fetch(&shared->violations, 1, __ATOMIC_RELAXED) <= TOLD)
            printf("seed %lld: %s\n", (long long)seed, sim_schedule_why());
        fflush(stdout);
    }
}

// A process does a few chunks at most: a vmferryd that is killed leaves memory behind.
static void work(Shared *shared, const Options *options, unsigned job)
{
    for (;;) {
        gint64 first = __atomic_fetch_add(&shared->next, CHUNK, __ATOMIC_RELAXED);
        if (first >= options->first + options->schedules || is_enough(shared, options))
            return;
        pid_t child = fork();
        if (child == 0) {
            run_chunk(shared, options, first, job);
            _exit(0);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            printf("seeds from %lld: the process ended with status %d\n", (long long)first, status);
            __atomic_add_fetch(&shared->violations, 1, __ATOMIC_RELAXED);
        }
    }
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); // GLib's clock is the simulation's
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run_many(const Options *options)
{
    Shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned jobs = (unsigned)CLAMP(options->jobs, 1, 64);
    double began_s = seconds();
    SimReport sum = {0};
    shared->next = options->first;
    fflush(stdout);
    for (unsigned job = 0; job < jobs; job++) {
        if (fork() != 0)
            continue;
        work(shared, options, job);
        _exit(0);
    }
    for (unsigned job = 0; job < jobs; job++)
        wait(NULL);
    for (unsigned job = 0; job < jobs; job++)
        sim_report_add(&sum, &shared->reports[job]);
    sim_report_print(&sum, seconds() - began_s, jobs);
    return (shared->violations > 0) != options->mutated ? 1 : 0;
}

static int run_one(uint64_t seed)
{
    static SimReport report;
    sim_report = &report;
    SimEnd end = sim_schedule(seed, true);
    printf("%s\n", end == END_VIOLATION ? sim_schedule_why() : sim_end_text(end));
    return end == END_VIOLATION ? 1 : 0;
}

int main(int argc, char **argv)
{
    Options options = {.seed = -1, .schedules = 20000, .first = 1, .jobs = 2};
    if (!parse(argc, argv, &options))
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    return options.seed >= 0 ? run_one((uint64_t)options.seed) : run_many(&options);
}
