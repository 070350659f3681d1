// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/jobs.h"

#include "agent/api_time.h"

#include <stdbool.h>
#include <string.h>

enum { KEEP = 200, KEEP_S = 3600, TELL_MS = 200, SAMPLES = 32, WINDOW_US = 5 * G_USEC_PER_SEC };

typedef struct {
    gint64 at_us;
    guint64 bytes;
} Sample;

struct AgentJobs {
    char *node;
    AgentJobChangedFn changed;
    gpointer data;
    GQueue entries; // Entry, newest first
    GList *running; // AgentJob
    gint64 next_id; // from the clock, so that a restarted agent does not give one twice
};

// A job as it is shown, ours or another node's.
typedef struct {
    json_t *json;
    gint64 ended_us; // 0 while it runs
} Entry;

struct AgentJob {
    AgentJobs *jobs;
    Entry *entry;
    Sample samples[SAMPLES]; // ring; the oldest is at first
    guint first, count;
    gint64 told_us;
    guint tell_source; // progress that was not told yet
};

static void set(Entry *entry, const char *key, json_t *value)
{
    json_object_set_new(entry->json, key, value);
}

static const char *get(const Entry *entry, const char *key)
{
    return json_string_value(json_object_get(entry->json, key));
}

// --- all jobs ---

static void entry_free(gpointer data)
{
    Entry *entry = data;
    json_decref(entry->json);
    g_free(entry);
}

static void job_free(gpointer data)
{
    AgentJob *job = data;
    g_clear_handle_id(&job->tell_source, g_source_remove);
    g_free(job);
}

AgentJobs *agent_jobs_new(const char *node, AgentJobChangedFn changed, gpointer data)
{
    AgentJobs *jobs = g_new0(AgentJobs, 1);
    jobs->node = g_strdup(node);
    jobs->changed = changed;
    jobs->data = data;
    jobs->next_id = g_get_real_time() / G_USEC_PER_SEC;
    g_queue_init(&jobs->entries);
    return jobs;
}

void agent_jobs_free(AgentJobs *jobs)
{
    if (jobs == NULL)
        return;
    g_list_free_full(jobs->running, job_free);
    g_queue_clear_full(&jobs->entries, entry_free);
    g_free(jobs->node);
    g_free(jobs);
}

// Running jobs stay, whatever their number.
static void forget_old(AgentJobs *jobs)
{
    gint64 limit = g_get_monotonic_time() - (gint64)KEEP_S * G_USEC_PER_SEC;
    guint finished = 0;
    for (GList *item = jobs->entries.head, *next; item != NULL; item = next) {
        next = item->next;
        Entry *entry = item->data;
        if (entry->ended_us == 0 || (++finished <= KEEP && entry->ended_us > limit))
            continue;
        entry_free(entry);
        g_queue_delete_link(&jobs->entries, item);
    }
}

static Entry *add_entry(AgentJobs *jobs, json_t *json)
{
    Entry *entry = g_new0(Entry, 1);
    entry->json = json;
    g_queue_push_head(&jobs->entries, entry);
    forget_old(jobs);
    return entry;
}

static GList *find(AgentJobs *jobs, const char *id)
{
    for (GList *item = jobs->entries.head; item != NULL; item = item->next)
        if (strcmp(get(item->data, "id"), id) == 0)
            return item;
    return NULL;
}

static void end_entry(Entry *entry, const char *error)
{
    set(entry, "state", json_string(error == NULL ? "done" : "failed"));
    g_autofree char *valid = error != NULL ? g_utf8_make_valid(error, -1) : NULL;
    set(entry, "error", valid != NULL ? json_string(valid) : json_null());
    set(entry, "ended", api_time_now());
    set(entry, "rate", json_integer(0));
    set(entry, "eta_s", json_null());
    entry->ended_us = g_get_monotonic_time();
}

json_t *agent_jobs_list(AgentJobs *jobs)
{
    forget_old(jobs);
    json_t *array = json_array();
    for (GList *item = jobs->entries.head; item != NULL; item = item->next)
        json_array_append_new(array, json_deep_copy(((Entry *)item->data)->json));
    return array;
}

json_t *agent_jobs_get(AgentJobs *jobs, const char *id)
{
    forget_old(jobs);
    GList *item = find(jobs, id);
    return item != NULL ? json_deep_copy(((Entry *)item->data)->json) : NULL;
}

// --- jobs of this node ---

static void tell(AgentJob *job)
{
    g_clear_handle_id(&job->tell_source, g_source_remove);
    job->told_us = g_get_monotonic_time();
    job->jobs->changed(job->entry->json, job->jobs->data);
}

static gboolean tell_late(gpointer data)
{
    AgentJob *job = data;
    job->tell_source = 0;
    tell(job);
    return G_SOURCE_REMOVE;
}

static void tell_soon(AgentJob *job)
{
    gint64 wait_ms = TELL_MS - (g_get_monotonic_time() - job->told_us) / 1000;
    if (wait_ms <= 0)
        tell(job);
    else if (job->tell_source == 0)
        job->tell_source = g_timeout_add((guint)wait_ms, tell_late, job);
}

AgentJob *agent_job_start(AgentJobs *jobs, const char *kind, const char *vm)
{
    AgentJob *job = g_new0(AgentJob, 1);
    g_autofree char *id = g_strdup_printf("%s-%" G_GINT64_FORMAT, jobs->node, ++jobs->next_id);
    job->jobs = jobs;
    job->entry = add_entry(
        jobs, json_pack("{s:s, s:s, s:s?, s:s, s:s, s:s, s:i, s:i, s:i, s:n, s:n, s:n, s:o, s:n, "
                        "s:n, s:n}",
                        "id", id, "kind", kind, "vm", vm, "node", jobs->node, "state", "running",
                        "phase", "", "bytes_done", 0, "bytes_total", 0, "rate", 0, "eta_s",
                        "expected_blackout_ms", "expected_blackout_margin_ms", "started",
                        api_time_now(), "ended", "error", "result"));
    jobs->running = g_list_prepend(jobs->running, job);
    tell(job);
    return job;
}

const char *agent_job_id(const AgentJob *job)
{
    return get(job->entry, "id");
}

void agent_job_phase(AgentJob *job, const char *phase)
{
    set(job->entry, "phase", json_string(phase));
    tell(job);
}

// The oldest sample of the window. Samples are a part of the window apart, so that the ring spans
// it however often progress comes.
static const Sample *oldest_sample(AgentJob *job, gint64 now_us, guint64 bytes)
{
    if (job->count > 0 && job->samples[(job->first + job->count - 1) % SAMPLES].bytes > bytes)
        job->count = 0; // it counts anew
    while (job->count > 1 && job->samples[job->first].at_us < now_us - WINDOW_US) {
        job->first = (job->first + 1) % SAMPLES;
        job->count--;
    }
    const Sample *last = &job->samples[(job->first + job->count + SAMPLES - 1) % SAMPLES];
    if (job->count < SAMPLES && (job->count == 0 || now_us - last->at_us >= WINDOW_US / SAMPLES))
        job->samples[(job->first + job->count++) % SAMPLES] = (Sample){now_us, bytes};
    return &job->samples[job->first];
}

void agent_job_progress(AgentJob *job, guint64 bytes_done, guint64 bytes_total)
{
    gint64 now_us = g_get_monotonic_time();
    const Sample *oldest = oldest_sample(job, now_us, bytes_done);
    double seconds = (double)(now_us - oldest->at_us) / G_USEC_PER_SEC;
    double rate = seconds > 0 ? (double)(bytes_done - oldest->bytes) / seconds : 0;
    bool known = rate >= 1 && bytes_total >= bytes_done;
    set(job->entry, "bytes_done", json_integer((json_int_t)bytes_done));
    set(job->entry, "bytes_total", json_integer((json_int_t)bytes_total));
    set(job->entry, "rate", json_integer((json_int_t)rate));
    set(job->entry, "eta_s",
        known ? json_real((double)(bytes_total - bytes_done) / rate) : json_null());
    tell_soon(job);
}

void agent_job_forecast(AgentJob *job, double blackout_ms, double margin_ms)
{
    set(job->entry, "expected_blackout_ms", json_real(blackout_ms));
    set(job->entry, "expected_blackout_margin_ms", json_real(margin_ms));
}

void agent_job_end(AgentJob *job, const GError *error, json_t *result)
{
    end_entry(job->entry, error != NULL ? error->message : NULL);
    set(job->entry, "result", result != NULL ? result : json_null());
    tell(job);
    AgentJobs *jobs = job->jobs;
    jobs->running = g_list_remove(jobs->running, job);
    job_free(job);
    forget_old(jobs);
}

// --- jobs of others ---

static bool is_running(json_t *job)
{
    return g_strcmp0(json_string_value(json_object_get(job, "state")), "running") == 0;
}

void agent_jobs_update_remote(AgentJobs *jobs, json_t *job)
{
    const char *id = json_string_value(json_object_get(job, "id"));
    const char *node = json_string_value(json_object_get(job, "node"));
    if (id == NULL || node == NULL || strcmp(node, jobs->node) == 0) {
        g_warning("another node's job cannot be understood");
        return;
    }
    // A node whose agent was started again counts from 1: the job is new, not the one of before.
    GList *item = find(jobs, id);
    if (item != NULL && ((Entry *)item->data)->ended_us != 0 && is_running(job)) {
        entry_free(item->data);
        g_queue_delete_link(&jobs->entries, item);
        item = NULL;
    }
    Entry *entry = item != NULL ? item->data : add_entry(jobs, json_object());
    json_decref(entry->json);
    entry->json = json_deep_copy(job);
    if (!is_running(job) && entry->ended_us == 0)
        entry->ended_us = g_get_monotonic_time();
}

void agent_jobs_node_lost(AgentJobs *jobs, const char *node)
{
    for (GList *item = jobs->entries.head; item != NULL; item = item->next) {
        Entry *entry = item->data;
        if (entry->ended_us != 0 || strcmp(get(entry, "node"), node) != 0)
            continue;
        g_autofree char *error = g_strdup_printf(
            "%s left the cluster or its vmferryd ended; what became of the job shows in the VM's "
            "state",
            node);
        end_entry(entry, error);
    }
}
