// SPDX-License-Identifier: GPL-2.0-or-later
// The shared storage below migrate/area.c, which is the product's own: its system calls come here
// (-Wl,--wrap). Every record job of agent/worker.c is a coroutine, so that the I/O of nodes
// interleaves at each system call, hangs, fails, tears at 512 bytes, and lands after its process.
#include "agent/worker.h"
#include "migrate/area.h"
#include "migrate/image.h"
#include "tests/sim/node.h"
#include "tests/sim/world.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <ucontext.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

enum {
    BLOCK = 4096,
    SECTOR = 512,
    STACK = 256 * 1024,
    JOBS = 64,
    FIRST_FD = 1000,
    AREA_BYTES = 1 << 30,
};

// The blocks that area.c writes: both slots, the definition.
static const off_t places[] = {0, 64 * 1024, 256 * 1024};

static uint8_t disk[G_N_ELEMENTS(places)][BLOCK];

typedef struct {
    bool used, done, ghost; // ghost: its process is gone, it only unwinds
    SimNode *node;
    AgentWorkFn run;
    AgentWorkDoneFn finish;
    gpointer work;
    ucontext_t context;
    char *stack;
    guint event; // that ends its I/O
    bool hung;   // that I/O ends late
    bool writes; // WRITTEN is on its way to BLOCK AT
    int at;
    uint8_t written[BLOCK];
    int result; // of the I/O: 0 or errno
    void *fake_stack;
} Job;

static Job jobs[JOBS];
static Job *current; // NULL: the scheduler
static ucontext_t scheduler;
#if defined(__SANITIZE_ADDRESS__)
static const void *scheduler_stack;
static size_t scheduler_stack_size;
#endif

// --- coroutines ---

static void enter(Job *job)
{
    Job *before = current;
    current = job;
#if defined(__SANITIZE_ADDRESS__)
    void *fake = NULL;
    __sanitizer_start_switch_fiber(&fake, job->stack, STACK);
    swapcontext(&scheduler, &job->context);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
    swapcontext(&scheduler, &job->context);
#endif
    current = before;
}

static void leave(bool for_good)
{
    Job *job = current;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? NULL : &job->fake_stack, scheduler_stack,
                                   scheduler_stack_size);
    swapcontext(&job->context, &scheduler);
    __sanitizer_finish_switch_fiber(job->fake_stack, &scheduler_stack, &scheduler_stack_size);
#else
    (void)for_good;
    swapcontext(&job->context, &scheduler);
#endif
}

static void body(void)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_stack_size);
#endif
    current->run(current->work);
    current->done = true;
    leave(true);
}

static void finish(gpointer data)
{
    Job *job = data;
    job->used = false;
    job->finish(job->work);
}

// Runs JOB to its next I/O, or its end.
static void go_on(gpointer data)
{
    Job *job = data;
    job->event = 0;
    enter(job);
    if (job->done && !job->ghost)
        sim_after(&job->node->agent_process, sim_around(200), finish, job, NULL);
}

static Job *job_new(void)
{
    for (int i = 0; i < JOBS; i++) {
        if (jobs[i].used)
            continue;
        char *stack = jobs[i].stack != NULL ? jobs[i].stack : g_malloc(STACK);
        memset(&jobs[i], 0, offsetof(Job, context));
        jobs[i].event = 0;
        jobs[i].hung = jobs[i].writes = false;
        jobs[i].stack = stack;
        jobs[i].used = true;
        return &jobs[i];
    }
    g_error("more than %d storage jobs", JOBS);
}

void agent_worker_run(AgentWorkFn run, AgentWorkDoneFn done, gpointer work)
{
    Job *job = job_new();
    job->node = world.here;
    job->run = run;
    job->finish = done;
    job->work = work;
    getcontext(&job->context);
    job->context.uc_stack.ss_sp = job->stack;
    job->context.uc_stack.ss_size = STACK;
    job->context.uc_link = NULL;
    makecontext(&job->context, body, 0);
    job->event = sim_after(&job->node->os, sim_around(100), go_on, job, NULL);
}

static void unwind(Job *job)
{
    sim_cancel(job->event);
    job->event = 0;
    job->ghost = true;
    job->writes = false;
    if (!job->done)
        enter(job);
}

// --- I/O of a job ---

static void land(Job *job, unsigned sectors)
{
    for (int i = 0; i < BLOCK / SECTOR; i++)
        if (sectors & (1U << i))
            memcpy(disk[job->at] + i * SECTOR, job->written + i * SECTOR, SECTOR);
}

static void land_first_half(gpointer data)
{
    land(data, sim_below(256));
}

static bool late_once;

typedef struct {
    int at;
    uint8_t block[BLOCK];
} Late;

static void lands_late(gpointer data)
{
    const Late *late = data;
    SIM_TRACE("a write that had failed lands late");
    world.hard_faults++; // over SEALED, which is in one slot, it costs the guest its memory
    memcpy(disk[late->at], late->block, BLOCK);
}

// An error says nothing about the data: a path may have been given up on which it still arrives.
// Two slots can be proof against one such write, which is what a schedule has at most.
static void fail_write(Job *job)
{
    if (job->result == ENOSPC)
        return;
    unsigned dice = sim_below(100);
    if (dice < 15) {
        land(job, ~0U);
    } else if (dice < 30) {
        land(job, sim_below(256));
    } else if (dice < 60 && !late_once) {
        late_once = true;
        Late *late = g_new(Late, 1);
        late->at = job->at;
        memcpy(late->block, job->written, BLOCK);
        sim_after(&job->node->os, 10 * SIM_MS + (gint64)sim_below(20000) * SIM_MS, lands_late, late,
                  g_free);
    }
}

static void io_ends(gpointer data)
{
    Job *job = data;
    if (job->writes && job->result == 0)
        land(job, ~0U);
    else if (job->writes)
        fail_write(job);
    job->writes = job->hung = false;
    if (job->node->dying) {
        unwind(job);
        sim_node_may_be_gone(job->node);
    } else if (job->node->agent_process.frozen) {
        job->event = sim_after(&job->node->agent_process, 0, go_on, job, NULL);
    } else {
        go_on(job);
    }
}

static int failure_of(SimNode *node, bool write)
{
    if (write && node->no_space)
        return ENOSPC;
    if (node->io_errors > 0) {
        node->io_errors--;
        return EIO;
    }
    return 0;
}

static void schedule(Job *job, bool write)
{
    gint64 us = sim_around(write ? 400 : 100);
    gint64 late_us = job->node->hang_until_us - world.now_us;
    job->hung = late_us > 0 && (write || !job->node->only_writes_hang);
    if (job->hung)
        us = late_us + sim_below(2 * SIM_S);
    job->event = sim_after(&job->node->os, us, io_ends, job, NULL);
}

// Waits for one I/O of the current job; returns 0 or its errno.
static int wait_for(bool write)
{
    Job *job = current;
    if (job->ghost)
        return EIO;
    job->result = failure_of(job->node, write);
    if (job->result != 0) {
        SIM_TRACE("%s: its %s to the area fails: %s", job->node->name, write ? "write" : "read",
                  g_strerror(job->result));
        if (write)
            world.storage_damage++;
    }
    if (write && sim_chance(30)) // two halves: who reads in between sees a torn block
        sim_after(&job->node->os, 20, land_first_half, job, NULL);
    schedule(job, write);
    leave(false);
    return job->ghost ? EIO : job->result;
}

static int place_of(off_t offset)
{
    for (guint i = 0; i < G_N_ELEMENTS(places); i++)
        if (places[i] == offset)
            return (int)i;
    return -1;
}

int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int fd);
int __wrap_fstat(int fd, struct stat *status);
ssize_t __wrap_pread(int fd, void *buffer, size_t bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *buffer, size_t bytes, off_t offset);
int __wrap_fdatasync(int fd);

int __wrap_open(const char *path, int flags, ...)
{
    (void)path;
    (void)flags;
    return FIRST_FD;
}

int __wrap_close(int fd)
{
    (void)fd;
    return 0;
}

int __wrap_fstat(int fd, struct stat *status)
{
    (void)fd;
    *status = (struct stat){.st_mode = S_IFREG | 0600, .st_size = AREA_BYTES};
    return 0;
}

static bool reads_take_time(void)
{
    return current != NULL && (current->ghost || current->node->hang_until_us > world.now_us ||
                               current->node->io_errors > 0 || sim_chance(150));
}

ssize_t __wrap_pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    (void)fd;
    if (reads_take_time() && (errno = wait_for(false)) != 0)
        return -1;
    memset(buffer, 0, bytes);
    for (guint i = 0; i < G_N_ELEMENTS(places); i++)
        if (places[i] >= offset && places[i] + BLOCK <= offset + (off_t)bytes)
            memcpy((char *)buffer + (places[i] - offset), disk[i], BLOCK);
    return (ssize_t)bytes;
}

ssize_t __wrap_pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    (void)fd;
    int place = place_of(offset);
    if (place < 0 || bytes != BLOCK)
        g_error("a write of %zu bytes at %lld", bytes, (long long)offset);
    if (current == NULL) {
        memcpy(disk[place], buffer, BLOCK);
        return BLOCK;
    }
    current->writes = true;
    current->at = place;
    memcpy(current->written, buffer, BLOCK);
    errno = wait_for(true);
    return errno == 0 ? BLOCK : -1;
}

int __wrap_fdatasync(int fd)
{
    (void)fd;
    if (current == NULL || (!current->ghost && !sim_chance(300)))
        return 0;
    errno = wait_for(false);
    return errno == 0 ? 0 : -1;
}

void sim_sleep(gint64 us)
{
    if (current->ghost)
        return;
    current->event = sim_after(&current->node->os, us, go_on, current, NULL);
    leave(false);
}

// --- ends of processes and nodes ---

// What was on its way when the node lost its power: there, not there, or in part.
void sim_storage_node_lost(SimNode *node)
{
    for (int i = 0; i < JOBS; i++) {
        Job *job = &jobs[i];
        if (!job->used || job->node != node || job->ghost)
            continue;
        if (job->writes && job->event != 0) {
            world.storage_damage++;
            if (sim_chance(600))
                land(job, sim_chance(400) ? ~0U : sim_below(256));
        }
        unwind(job);
    }
}

bool sim_storage_agent_lost(SimNode *node)
{
    for (int i = 0; i < JOBS; i++)
        if (jobs[i].used && jobs[i].node == node && jobs[i].hung && !jobs[i].ghost)
            return false;
    for (int i = 0; i < JOBS; i++) {
        Job *job = &jobs[i];
        if (!job->used || job->node != node || job->ghost)
            continue;
        if (job->writes && job->event != 0 && job->result == 0)
            land(job, ~0U); // a process does not end in the middle of an I/O
        unwind(job);
    }
    return true;
}

void sim_storage_forget_jobs(SimNode *node)
{
    for (int i = 0; i < JOBS; i++)
        if (jobs[i].used && jobs[i].node == node)
            finish(&jobs[i]);
}

// As ferry_area_prepare leaves a new area.
void sim_storage_reset(void)
{
    FerryRecord record = {.sequence = 1, .state = FERRY_EMPTY};
    for (int i = 0; i < JOBS; i++)
        jobs[i].used = false;
    memset(disk, 0, sizeof disk);
    late_once = false;
    g_strlcpy(record.uuid, SIM_UUID, sizeof record.uuid);
    g_strlcpy(record.vm, SIM_VM, sizeof record.vm);
    ferry_record_encode(&record, disk[0]);
}

bool sim_storage_is_readable(FerryRecord *record, char *why, size_t length)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FerryArea) area = ferry_area_open(SIM_AREA, &error);
    if (ferry_area_read_record(area, record, &error))
        return true;
    g_strlcpy(why, error->message, length);
    return false;
}
