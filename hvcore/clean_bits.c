// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/clean_bits.h"

#include "hvcore/command_line.h"
#include "hvcore/userfault.h"
#include "hvcore/vm_dir.h"

#include <string.h>
#include <unistd.h>

#define NAME "vmferry-clean" // of the node, the export, the jobs and the snapshot

// A quarter of a second for each GiB: for more memory than this the launch would take too long.
enum { MOST_MIB = 16 * 1024, POLL_MS = 5, SIZE = 1024 * 1024 };

typedef struct {
    int references;
    HvVm *vm; // held
    bool incoming, failed;
    size_t next;
    char *file, *socket;
    HvThenFn then;
} Clean;

enum {
    INCOMING = 1, // not for a cold start
    JOB = 2,      // goes on as a job
    ALWAYS = 4,   // takes something back: after a failure, too
};

typedef struct {
    const char *command;
    json_t *(*arguments)(const Clean *clean); // NULL: none
    unsigned flags;
} CleanStep;

static Clean *clean_ref(Clean *clean)
{
    clean->references++;
    return clean;
}

static void clean_unref(gpointer pointer)
{
    Clean *clean = pointer;
    if (--clean->references)
        return;
    (void)unlink(clean->file);
    (void)unlink(clean->socket);
    hv_vm_release(clean->vm);
    g_free(clean->file);
    g_free(clean->socket);
    g_free(clean);
}

// --- the commands ---

static json_t *file_node(const Clean *clean)
{
    return json_pack("{s:s, s:s}", "driver", "file", "filename", clean->file);
}

static json_t *create(const Clean *clean)
{
    return json_pack("{s:s, s:{s:s, s:o, s:i}}", "job-id", NAME, "options", "driver", "qcow2",
                     "file", file_node(clean), "size", SIZE);
}

static json_t *add(const Clean *clean)
{
    return json_pack("{s:s, s:s, s:o}", "driver", "qcow2", "node-name", NAME, "file",
                     file_node(clean));
}

static json_t *listen_on(const Clean *clean)
{
    return json_pack("{s:{s:s, s:{s:s}}}", "addr", "type", "unix", "data", "path", clean->socket);
}

static json_t *export_add(const Clean *clean)
{
    (void)clean;
    return json_pack("{s:s, s:s, s:s, s:b}", "type", "nbd", "id", NAME, "node-name", NAME,
                     "writable", 1);
}

static json_t *export_del(const Clean *clean)
{
    (void)clean;
    return json_pack("{s:s, s:s}", "id", NAME, "mode", "hard");
}

static json_t *snapshot(const Clean *clean)
{
    (void)clean;
    return json_pack("{s:s, s:s, s:s, s:[s]}", "job-id", NAME, "tag", NAME, "vmstate", NAME,
                     "devices", NAME);
}

static json_t *by_id(const Clean *clean)
{
    (void)clean;
    return json_pack("{s:s}", "id", NAME);
}

static json_t *by_node_name(const Clean *clean)
{
    (void)clean;
    return json_pack("{s:s}", "node-name", NAME);
}

// A node that is added to a QEMU that waits for an image is not active, and takes no snapshot; to
// be exported for writing makes it active.
static const CleanStep clean_steps[] = {
    {"blockdev-create", create, JOB},
    {"job-dismiss", by_id, ALWAYS},
    {"blockdev-add", add, 0},
    {"nbd-server-start", listen_on, INCOMING},
    {"block-export-add", export_add, INCOMING},
    {"block-export-del", export_del, INCOMING | ALWAYS},
    {"nbd-server-stop", NULL, INCOMING | ALWAYS},
    {"snapshot-save", snapshot, JOB},
    {"job-dismiss", by_id, ALWAYS},
    {"blockdev-del", by_node_name, ALWAYS},
};

// --- one after the other ---

static void go_on(Clean *clean);

static bool is_over(const Clean *clean) // QEMU has ended, or the VM's object has
{
    return clean->vm->freed || clean->vm->phase != HV_PHASE_LAUNCHING;
}

static void fail(Clean *clean, const char *why)
{
    // What takes something back that there is not fails, too, and does not matter.
    if (!clean->failed)
        g_debug("VM %s: its first save will be slow: %s", clean->vm->definition->name, why);
    clean->failed = true;
}

static gboolean look_at_job(gpointer pointer);

static void wait_for_job(Clean *clean)
{
    g_timeout_add_full(G_PRIORITY_DEFAULT, POLL_MS, look_at_job, clean_ref(clean), clean_unref);
}

static json_t *find_job(json_t *jobs)
{
    size_t i;
    json_t *job;
    json_array_foreach(jobs, i, job)
    {
        const char *id = json_string_value(json_object_get(job, "id"));
        if (id && strcmp(id, NAME) == 0)
            return job;
    }
    return NULL;
}

static void on_jobs(json_t *result, const GError *error, gpointer pointer)
{
    Clean *clean = pointer;
    if (is_over(clean))
        return;
    json_t *job = find_job(result);
    const char *status = json_string_value(json_object_get(job, "status"));
    const char *problem = json_string_value(json_object_get(job, "error"));
    if (status && strcmp(status, "concluded") != 0) {
        wait_for_job(clean);
        return;
    }
    if (!status)
        fail(clean, error ? error->message : "there is no such job");
    else if (problem)
        fail(clean, problem);
    go_on(clean);
}

static gboolean look_at_job(gpointer pointer)
{
    Clean *clean = pointer;
    if (!is_over(clean))
        hv_vm_command(clean->vm, "query-jobs", NULL, HV_LAUNCH_MS, on_jobs, clean_ref(clean),
                      clean_unref);
    return G_SOURCE_REMOVE;
}

static void on_reply(json_t *result, const GError *error, gpointer pointer)
{
    (void)result;
    Clean *clean = pointer;
    const CleanStep *step = &clean_steps[clean->next - 1];
    if (is_over(clean))
        return;
    if (error)
        fail(clean, error->message);
    if ((step->flags & JOB) && !error)
        wait_for_job(clean);
    else
        go_on(clean);
}

static bool is_wanted(const Clean *clean, const CleanStep *step)
{
    return (clean->incoming || !(step->flags & INCOMING)) &&
           (!clean->failed || (step->flags & ALWAYS));
}

static void go_on(Clean *clean)
{
    while (clean->next < G_N_ELEMENTS(clean_steps)) {
        const CleanStep *step = &clean_steps[clean->next++];
        if (!is_wanted(clean, step))
            continue;
        hv_vm_command(clean->vm, step->command, step->arguments ? step->arguments(clean) : NULL,
                      HV_LAUNCH_MS, on_reply, clean_ref(clean), clean_unref);
        return;
    }
    (void)unlink(clean->file); // THEN may come to the launch's end
    clean->then(clean->vm);
}

static bool is_needed(const HvVm *vm)
{
    return hv_command_line_has_extra(vm->accelerator, vm->definition) &&
           vm->definition->memory_mib <= MOST_MIB;
}

void hv_clean_bits(HvVm *vm, HvLaunchMode mode, HvThenFn then)
{
    if (!is_needed(vm)) {
        then(vm);
        return;
    }
    const char *name = vm->definition->name;
    Clean *clean = g_new0(Clean, 1);
    *clean = (Clean){.references = 1,
                     .vm = hv_vm_hold(vm),
                     .incoming = mode == HV_LAUNCH_INCOMING,
                     .file = hv_vm_qemu_file(vm->run_dir, name, "clean.qcow2"),
                     .socket = hv_vm_qemu_file(vm->run_dir, name, "clean.sock"),
                     .then = then};
    if (hv_vm_dir_make_file(clean->file, vm->user, NULL))
        go_on(clean);
    else
        then(vm);
    clean_unref(clean);
}

// --- what query-migrate tells afterwards ---

// The snapshot's state: QEMU gives it no time. A snapshot that failed looks like a save that did.
static bool is_snapshots(const HvVm *vm, json_t *result, HvMigrationStatus status)
{
    json_t *total = json_object_get(result, "total-time");
    if (status == HV_MIGRATION_COMPLETED)
        return total && json_integer_value(total) == 0;
    return status == HV_MIGRATION_FAILED && !json_object_get(result, "error-desc") && is_needed(vm);
}

HvMigrationStatus hv_clean_bits_status(const HvVm *vm, json_t *result)
{
    HvMigrationStatus status =
        hv_migration_status_parse(json_string_value(json_object_get(result, "status")));
    if (status == HV_MIGRATION_ACTIVE || status == HV_MIGRATION_PAUSED)
        return status;
    if (!hv_userfault_closed(vm->pid, vm->pidfd))
        return HV_MIGRATION_ACTIVE;
    return is_snapshots(vm, result, status) ? HV_MIGRATION_NONE : status;
}
