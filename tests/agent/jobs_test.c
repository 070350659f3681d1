// SPDX-License-Identifier: GPL-2.0-or-later
// Jobs: what is told and how often, rate, end, other nodes' jobs.
#include "agent/error.h"
#include "agent/jobs.h"

#include <string.h>

typedef struct {
    guint count;
    json_t *last;
} Told;

static void told(json_t *job, gpointer data)
{
    Told *seen = data;
    seen->count++;
    json_decref(seen->last);
    seen->last = json_deep_copy(job);
}

static const char *text(json_t *job, const char *key)
{
    return json_string_value(json_object_get(job, key));
}

static json_int_t number(json_t *job, const char *key)
{
    return json_integer_value(json_object_get(job, key));
}

static void test_life(void)
{
    Told seen = {0};
    AgentJobs *jobs = agent_jobs_new("n1", told, &seen);
    AgentJob *job = agent_job_start(jobs, "migrate", "a");
    g_autofree char *id = g_strdup(agent_job_id(job));
    g_assert_true(g_str_has_prefix(id, "n1-"));
    g_assert_cmpuint(seen.count, ==, 1);
    g_assert_cmpstr(text(seen.last, "state"), ==, "running");
    g_assert_true(json_is_null(json_object_get(seen.last, "ended")));
    g_assert_true(json_is_null(json_object_get(seen.last, "expected_blackout_ms")));
    agent_job_forecast(job, 40, 10);
    g_assert_cmpuint(seen.count, ==, 1); // it is told with what comes next
    agent_job_phase(job, "save");
    g_assert_cmpuint(seen.count, ==, 2);
    g_assert_cmpstr(text(seen.last, "phase"), ==, "save");
    g_assert_cmpfloat(json_real_value(json_object_get(seen.last, "expected_blackout_ms")), ==, 40);
    g_assert_cmpfloat(json_real_value(json_object_get(seen.last, "expected_blackout_margin_ms")),
                      ==, 10);
    agent_job_end(job, NULL, json_pack("{s:i}", "blackout_ms", 80));
    g_assert_cmpuint(seen.count, ==, 3);
    json_t *shown = agent_jobs_get(jobs, id);
    g_assert_true(json_equal(shown, seen.last));
    g_assert_cmpstr(text(shown, "state"), ==, "done");
    g_assert_true(json_is_null(json_object_get(shown, "error")));
    g_assert_nonnull(text(shown, "ended"));
    g_assert_cmpint(number(json_object_get(shown, "result"), "blackout_ms"), ==, 80);
    json_decref(shown);
    g_assert_null(agent_jobs_get(jobs, "n1-2"));
    agent_jobs_free(jobs);
    json_decref(seen.last);
}

static void test_failed(void)
{
    Told seen = {0};
    AgentJobs *jobs = agent_jobs_new("n1", told, &seen);
    g_autoptr(GError) error = g_error_new(AGENT_ERROR, AGENT_ERROR_FAILED, "n2: no memory\xff");
    agent_job_end(agent_job_start(jobs, "start", "a"), error, NULL);
    g_assert_cmpstr(text(seen.last, "state"), ==, "failed");
    g_assert_true(g_str_has_prefix(text(seen.last, "error"), "n2: no memory"));
    agent_jobs_free(jobs);
    json_decref(seen.last);
}

// Five times a second at most, but what came last is told without another progress.
static void test_throttle(void)
{
    Told seen = {0};
    AgentJobs *jobs = agent_jobs_new("n1", told, &seen);
    AgentJob *job = agent_job_start(jobs, "migrate", "a");
    gint64 start = g_get_monotonic_time();
    for (guint64 i = 1; i <= 1000; i++)
        agent_job_progress(job, i, 1000);
    g_assert_cmpuint(seen.count, <=, 2 + (g_get_monotonic_time() - start) / 200000);
    json_t *shown = agent_jobs_get(jobs, agent_job_id(job));
    g_assert_cmpint(number(shown, "bytes_done"), ==, 1000);
    json_decref(shown);
    while (number(seen.last, "bytes_done") != 1000)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 190000);
    agent_job_progress(job, 1001, 2000); // its timer must not outlive the job
    agent_job_end(job, NULL, NULL);
    guint count = seen.count;
    gint64 end = g_get_monotonic_time() + 300000;
    while (g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, FALSE);
    g_assert_cmpuint(seen.count, ==, count);
    agent_jobs_free(jobs);
    json_decref(seen.last);
}

static void test_rate(void)
{
    Told seen = {0};
    AgentJobs *jobs = agent_jobs_new("n1", told, &seen);
    AgentJob *job = agent_job_start(jobs, "migrate", "a");
    gint64 start = g_get_monotonic_time();
    agent_job_progress(job, 1000000, 9000000);
    g_usleep(50000);
    agent_job_progress(job, 2000000, 9000000);
    double seconds = (double)(g_get_monotonic_time() - start) / 1e6;
    json_t *shown = agent_jobs_get(jobs, agent_job_id(job));
    json_int_t rate = number(shown, "rate");
    g_assert_cmpint(rate, >=, (json_int_t)(1e6 / seconds));
    g_assert_cmpint(rate, <=, 1000000 * 20);
    g_assert_cmpfloat_with_epsilon(json_real_value(json_object_get(shown, "eta_s")),
                                   7e6 / (double)rate, 0.01);
    json_decref(shown);
    agent_job_progress(job, 5, 9000000); // counts anew: no rate, no promise
    shown = agent_jobs_get(jobs, agent_job_id(job));
    g_assert_cmpint(number(shown, "rate"), ==, 0);
    g_assert_true(json_is_null(json_object_get(shown, "eta_s")));
    json_decref(shown);
    agent_jobs_free(jobs); // with a job that runs
    json_decref(seen.last);
}

static void test_bounded(void)
{
    Told seen = {0};
    AgentJobs *jobs = agent_jobs_new("n1", told, &seen);
    AgentJob *first = agent_job_start(jobs, "migrate", "a");
    for (int i = 0; i < 250; i++)
        agent_job_end(agent_job_start(jobs, "start", "b"), NULL, NULL);
    json_t *list = agent_jobs_list(jobs);
    g_assert_cmpuint(json_array_size(list), ==, 201);
    g_assert_cmpstr(text(json_array_get(list, 200), "id"), ==, agent_job_id(first)); // it runs
    json_decref(list);
    agent_job_end(first, NULL, NULL);
    agent_jobs_free(jobs);
    json_decref(seen.last);
}

static void remote(AgentJobs *jobs, const char *id, const char *node, const char *state)
{
    json_t *job =
        json_pack("{s:s, s:s, s:s, s:n}", "id", id, "node", node, "state", state, "error");
    agent_jobs_update_remote(jobs, job);
    json_decref(job);
}

static void assert_state(AgentJobs *jobs, const char *id, const char *state)
{
    json_t *job = agent_jobs_get(jobs, id);
    g_assert_cmpstr(text(job, "state"), ==, state);
    json_decref(job);
}

static void test_remote(void)
{
    Told seen = {0};
    AgentJobs *jobs = agent_jobs_new("n1", told, &seen);
    remote(jobs, "n2-1", "n2", "running");
    remote(jobs, "n3-1", "n3", "running");
    remote(jobs, "n2-2", "n2", "running");
    remote(jobs, "n2-2", "n2", "done");
    agent_jobs_node_lost(jobs, "n2");
    assert_state(jobs, "n2-1", "failed");
    assert_state(jobs, "n2-2", "done");
    assert_state(jobs, "n3-1", "running");
    remote(jobs, "n2-1", "n2", "running"); // its agent was started again
    assert_state(jobs, "n2-1", "running");
    json_t *list = agent_jobs_list(jobs);
    g_assert_cmpuint(json_array_size(list), ==, 3);
    g_assert_cmpstr(text(json_array_get(list, 0), "id"), ==, "n2-1");
    json_decref(list);
    g_assert_cmpuint(seen.count, ==, 0); // never told on
    g_test_expect_message("vmferry", G_LOG_LEVEL_WARNING, "*cannot be understood*");
    remote(jobs, "n1-1", "n1", "running");
    g_test_assert_expected_messages();
    agent_jobs_free(jobs);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/jobs/life", test_life);
    g_test_add_func("/jobs/failed", test_failed);
    g_test_add_func("/jobs/throttle", test_throttle);
    g_test_add_func("/jobs/rate", test_rate);
    g_test_add_func("/jobs/bounded", test_bounded);
    g_test_add_func("/jobs/remote", test_remote);
    return g_test_run();
}
