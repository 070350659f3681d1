// SPDX-License-Identifier: GPL-2.0-or-later
// A look that hangs keeps neither the others nor the answer waiting, and is not begun twice.
#include "agent/doctor_tasks.h"

#include <stdbool.h>

enum { DEADLINE_MS = 300, PATIENCE_S = 20 };

static GMutex gate; // held by whoever makes a task hang
static gint freed;

static json_t *quick(gpointer data)
{
    return json_pack("{s:s}", "from", (const char *)data);
}

static json_t *hangs(gpointer data)
{
    (void)data;
    g_mutex_lock(&gate);
    g_mutex_unlock(&gate);
    return json_object();
}

static void count_free(gpointer data)
{
    (void)data;
    g_atomic_int_inc(&freed);
}

static void done(json_t *results, gpointer data)
{
    json_t **kept = data;
    g_assert_null(*kept); // once
    *kept = json_incref(results);
}

static json_t *run(DoctorTasks *tasks)
{
    json_t *results = NULL;
    doctor_tasks_run(tasks, DEADLINE_MS, done, &results);
    g_assert_null(results); // later
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_USEC_PER_SEC;
    while (results == NULL && g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, TRUE);
    g_assert_nonnull(results);
    return results;
}

static void test_all_in_time(void)
{
    DoctorTasks *tasks = doctor_tasks_new();
    doctor_tasks_add(tasks, "a", quick, "one", NULL);
    doctor_tasks_add(tasks, "b", quick, "two", NULL);
    json_t *results = run(tasks);
    json_t *expected = json_pack("{s:{s:s}, s:{s:s}}", "a", "from", "one", "b", "from", "two");
    g_assert_true(json_equal(results, expected));
    json_decref(expected);
    json_decref(results);
}

static void test_nothing(void)
{
    json_t *results = run(doctor_tasks_new());
    g_assert_cmpuint(json_object_size(results), ==, 0);
    json_decref(results);
}

static json_t *run_with_hanging(void)
{
    DoctorTasks *tasks = doctor_tasks_new();
    doctor_tasks_add(tasks, "storage", hangs, NULL, count_free);
    doctor_tasks_add(tasks, "host", quick, "one", NULL);
    return run(tasks);
}

static void test_one_hangs(void)
{
    g_mutex_lock(&gate);
    json_t *first = run_with_hanging();
    g_assert_nonnull(json_object_get(first, "host"));
    g_assert_null(json_object_get(first, "storage"));
    json_t *second = run_with_hanging(); // a thread for each question would end in none left
    g_assert_nonnull(json_object_get(second, "host"));
    g_assert_nonnull(json_object_get(json_object_get(second, "storage"), "problem"));
    g_assert_cmpint(g_atomic_int_get(&freed), ==, 1);
    g_mutex_unlock(&gate);
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_USEC_PER_SEC;
    while (g_atomic_int_get(&freed) < 2 && g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, TRUE); // it comes late, and nobody is told
    g_assert_cmpint(g_atomic_int_get(&freed), ==, 2);
    json_decref(first);
    json_decref(second);
    json_t *third = run_with_hanging();
    g_assert_null(json_object_get(json_object_get(third, "storage"), "problem"));
    g_assert_nonnull(json_object_get(third, "storage"));
    json_decref(third);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/doctor_tasks/all-in-time", test_all_in_time);
    g_test_add_func("/doctor_tasks/nothing", test_nothing);
    g_test_add_func("/doctor_tasks/one-hangs", test_one_hangs);
    return g_test_run();
}
