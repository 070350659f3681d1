// SPDX-License-Identifier: GPL-2.0-or-later
// Parts of vmferryd that decide nothing about a VM's life: events, jobs, forecasts, definitions.
#include "tests/sim/parts.h"
#include "agent/calls.h"
#include "agent/guest_clock.h"
#include "agent/last_move.h"
#include "agent/messages.h"
#include "agent/pace.h"
#include "agent/stay.h"
#include "agent/storage.h"
#include "hvcore/filesystem.h"
#include "hvcore/hugepages.h"
#include "tests/sim/node.h"

#include <string.h>

// --- definitions: all are this one ---

static HvDefinition definition = {
    .name = (char *)SIM_VM,
    .uuid = (char *)SIM_UUID,
    .memory_mib = 64,
    .machine = (char *)"pc-q35-7.2",
    .on_stop = HV_ON_STOP_SAVE,
    .restore = HV_RESTORE_LAZY,
    .convergence = HV_CONVERGENCE_FORCE,
    .state_area = (char *)SIM_AREA,
};

void sim_definition_set(HvOnStop on_stop, HvRestore restore)
{
    definition.on_stop = on_stop;
    definition.restore = restore;
}

HvDefinition *hv_definition_parse(const char *text, GError **error)
{
    (void)text;
    (void)error;
    return &definition;
}

HvDefinition *hv_definition_ref(const HvDefinition *borrowed)
{
    (void)borrowed;
    return &definition;
}

void hv_definition_unref(HvDefinition *borrowed)
{
    (void)borrowed;
}

char *hv_definition_to_json(const HvDefinition *borrowed)
{
    (void)borrowed;
    return g_strdup("{}");
}

char *hv_definition_digest(const HvDefinition *borrowed)
{
    (void)borrowed;
    return g_strdup("0");
}

char *hv_definition_pending(const HvDefinition *running, const HvDefinition *next)
{
    (void)running;
    (void)next;
    return NULL;
}

bool hv_definition_check_node(const HvDefinition *borrowed, const HvNodeCheck *check,
                              GError **error)
{
    (void)borrowed;
    (void)check;
    (void)error;
    return true;
}

bool hv_definition_is_exclusive(const HvDefinition *borrowed)
{
    (void)borrowed;
    return false;
}

bool hv_filesystems_held(const char *vm)
{
    (void)vm;
    return false;
}

bool storage_make_available(const HvDefinition *borrowed, bool needs_identity, GError **error)
{
    (void)borrowed;
    (void)needs_identity;
    (void)error;
    return true;
}

bool storage_mount(const HvDefinition *borrowed, GError **error)
{
    (void)borrowed;
    (void)error;
    return true;
}

bool storage_give_back(const char *vm, const HvDefinition *borrowed, GError **error)
{
    (void)vm;
    (void)borrowed;
    (void)error;
    return true;
}

const char *hv_hugepages_block(const HvDefinition *borrowed)
{
    (void)borrowed;
    return NULL;
}

char *hv_vm_qemu_file(const char *run_dir, const char *name, const char *file)
{
    return g_build_filename(run_dir, name, "qemu", file, NULL);
}

bool hv_node_memory_available(uint64_t *mib, GError **error)
{
    (void)error;
    *mib = 32768;
    return true;
}

GQuark hv_error_quark(void)
{
    return g_quark_from_static_string("hv-error-quark");
}

GQuark agent_error_quark(void)
{
    return g_quark_from_static_string("agent-error-quark");
}

const char *hv_run_state_name(HvRunState state)
{
    static const char *const names[] = {"unknown",        "prelaunch", "inmigrate",
                                        "running",        "paused",    "postmigrate",
                                        "finish-migrate", "shutdown",  "error",
                                        "io-error"};
    return (unsigned)state < G_N_ELEMENTS(names) ? names[state] : "?";
}

// --- events ---

void agent_events_add(AgentEvents *events, const char *level, const char *type, const char *vm,
                      json_t *details, const char *format, ...)
{
    (void)events;
    (void)vm;
    json_decref(details);
    sim_count_event(type);
    if (!world.tracing && strcmp(level, "error") != 0)
        return;
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    SIM_TRACE("%s: %s: %s", world.here->name, type, text);
    if (strcmp(level, "error") == 0)
        g_strlcpy(world.last_error, text, sizeof world.last_error);
}

void agent_events_add_remote(AgentEvents *events, json_t *event)
{
    (void)events;
    (void)event;
}

// --- a guest's clock: set while it is left alone for long enough ---

enum { CLOCK_MS = 100 };

struct GuestClock {
    guint timer;
    GuestClockFn done;
    gpointer data;
};

static gboolean clock_is_set(gpointer data)
{
    static const GuestClockResult result = {.before_us = -1000 * 1000, .steps = 1};
    GuestClock *clock = data;
    clock->timer = 0;
    clock->done(&result, NULL, clock->data);
    return G_SOURCE_REMOVE;
}

GuestClock *guest_clock_set(const char *path, GuestClockFn done, gpointer data, GError **error)
{
    (void)path;
    (void)error;
    GuestClock *clock = g_new(GuestClock, 1);
    *clock = (GuestClock){g_timeout_add(CLOCK_MS, clock_is_set, clock), done, data};
    return clock;
}

void guest_clock_free(GuestClock *clock)
{
    if (clock == NULL)
        return;
    g_clear_handle_id(&clock->timer, g_source_remove);
    g_free(clock);
}

// --- jobs ---

AgentJob *agent_job_start(AgentJobs *jobs, const char *kind, const char *vm)
{
    (void)jobs;
    (void)kind;
    (void)vm;
    return (AgentJob *)&definition;
}

const char *agent_job_id(const AgentJob *job)
{
    (void)job;
    return "job";
}

void agent_job_phase(AgentJob *job, const char *phase)
{
    (void)job;
    world.phase = phase;
}

void agent_job_progress(AgentJob *job, guint64 bytes_done, guint64 bytes_total)
{
    (void)job;
    (void)bytes_done;
    (void)bytes_total;
}

void agent_job_end(AgentJob *job, const GError *error, json_t *result)
{
    (void)job;
    (void)error;
    json_decref(result);
    world.phase = "idle";
}

void agent_jobs_update_remote(AgentJobs *jobs, json_t *job)
{
    (void)jobs;
    (void)job;
}

void agent_jobs_node_lost(AgentJobs *jobs, const char *node)
{
    (void)jobs;
    (void)node;
}

void agent_calls_serve(Agent *agent, const char *op, json_t *args, AgentReplyFn reply,
                       gpointer data)
{
    (void)agent;
    (void)op;
    (void)args;
    reply(NULL, NULL, data);
}

void agent_last_move_load(AgentVm *vm)
{
    (void)vm;
}

char *agent_new_id(Agent *agent)
{
    return g_strdup_printf("%s-%" G_GINT64_FORMAT "-%u", agent->name, world.now_us,
                           ++agent->next_id);
}

// --- how a save goes on ---

AgentPace *agent_pace_new(AgentVm *vm, const char *peer, AgentJob *job)
{
    (void)vm;
    (void)peer;
    (void)job;
    return (AgentPace *)&definition;
}

void agent_pace_free(AgentPace *pace)
{
    (void)pace;
}

unsigned agent_pace_begin(AgentPace *pace)
{
    (void)pace;
    return 30;
}

void agent_pace_saver(AgentPace *pace, const FerrySaverProgress *progress)
{
    (void)pace;
    (void)progress;
}

bool agent_pace_sample(AgentPace *pace, const HvMigration *migration)
{
    (void)pace;
    (void)migration;
    return !sim_chance(20); // no further pass helps: it is paused
}

unsigned agent_pace_least_ms(const AgentPace *pace)
{
    (void)pace;
    return 0;
}

void agent_pace_force(AgentPace *pace)
{
    (void)pace;
}

char *agent_pace_describe(const AgentPace *pace)
{
    (void)pace;
    return g_strdup("");
}

char *agent_pace_text(const AgentPace *pace)
{
    (void)pace;
    return NULL;
}

void agent_pace_tell(const AgentPace *pace, json_t *details)
{
    (void)pace;
    (void)details;
}

void agent_pace_end(AgentPace *pace, double blackout_ms, const char *mode, json_t *result)
{
    (void)pace;
    (void)blackout_ms;
    (void)mode;
    (void)result;
}

// Pacemaker is not held: it recovers from each failed move.
void agent_stay_begin(AgentVm *vm, AgentVmDone done, gpointer data)
{
    done(vm, NULL, data);
}

void agent_stay_end(AgentVm *vm, bool stayed)
{
    (void)vm;
    (void)stayed;
}

void agent_stay_free(AgentStay *stay)
{
    (void)stay;
}

// --- agent/quarantine.c's note ---

gboolean __wrap_g_file_set_contents(const char *path, const char *text, gssize length,
                                    GError **error);
gboolean __wrap_g_file_get_contents(const char *path, char **text, gsize *length, GError **error);
int __wrap_unlink(const char *path);

gboolean __wrap_g_file_set_contents(const char *path, const char *text, gssize length,
                                    GError **error)
{
    (void)length;
    (void)error;
    SimNode *node = sim_node_of(path);
    g_free(node->note);
    node->note = g_strdup(text);
    return TRUE;
}

gboolean __wrap_g_file_get_contents(const char *path, char **text, gsize *length, GError **error)
{
    (void)length;
    (void)error;
    SimNode *node = sim_node_of(path);
    *text = g_strdup(node->note);
    return node->note != NULL;
}

int __wrap_unlink(const char *path)
{
    g_clear_pointer(&sim_node_of(path)->note, g_free);
    return 0;
}
