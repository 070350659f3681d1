// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/doctor_tasks.h"

enum { MAX_THREADS = 64 }; // the rest waits, and is late where these hang

struct DoctorTasks {
    GPtrArray *all; // Task, until they are begun
    json_t *results;
    guint left, timer, references;
    DoctorTasksDone done; // NULL: it was called
    gpointer data;
};

typedef struct {
    DoctorTasks *tasks;
    char *name;
    DoctorTaskFn run;
    gpointer data;
    GDestroyNotify free_data;
    json_t *result;
} Task;

static GThreadPool *pool;     // made with the first task
static GHashTable *under_way; // names

static void release(DoctorTasks *tasks)
{
    if (--tasks->references > 0)
        return;
    g_ptr_array_unref(tasks->all);
    json_decref(tasks->results);
    g_free(tasks);
}

static void task_free(Task *task)
{
    if (task->free_data != NULL)
        task->free_data(task->data);
    json_decref(task->result);
    release(task->tasks);
    g_free(task->name);
    g_free(task);
}

static void end(DoctorTasks *tasks)
{
    DoctorTasksDone done = tasks->done;

    tasks->done = NULL;
    g_clear_handle_id(&tasks->timer, g_source_remove);
    done(tasks->results, tasks->data);
    release(tasks);
}

static gboolean deliver(gpointer data)
{
    Task *task = data;
    DoctorTasks *tasks = task->tasks;

    g_hash_table_remove(under_way, task->name);
    if (tasks->done != NULL) {
        json_object_set(tasks->results, task->name, task->result);
        if (--tasks->left == 0)
            end(tasks);
    }
    task_free(task);
    return G_SOURCE_REMOVE;
}

static void run_task(gpointer data, gpointer unused)
{
    Task *task = data;

    (void)unused;
    task->result = task->run(task->data);
    g_idle_add(deliver, task);
}

static gboolean is_late(gpointer data)
{
    DoctorTasks *tasks = data;

    tasks->timer = 0;
    end(tasks);
    return G_SOURCE_REMOVE;
}

DoctorTasks *doctor_tasks_new(void)
{
    DoctorTasks *tasks = g_new0(DoctorTasks, 1);

    tasks->all = g_ptr_array_new();
    tasks->results = json_object();
    tasks->references = 1;
    return tasks;
}

void doctor_tasks_add(DoctorTasks *tasks, const char *name, DoctorTaskFn run, gpointer data,
                      GDestroyNotify free_data)
{
    Task *task = g_new(Task, 1);

    *task = (Task){tasks, g_strdup(name), run, data, free_data, NULL};
    tasks->references++;
    g_ptr_array_add(tasks->all, task);
}

static void begin(Task *task)
{
    if (g_hash_table_add(under_way, g_strdup(task->name))) {
        task->tasks->left++;
        g_thread_pool_push(pool, task, NULL);
        return;
    }
    json_object_set_new(task->tasks->results, task->name,
                        json_pack("{s:s}", "problem", "an earlier look at it still hangs"));
    task_free(task);
}

void doctor_tasks_run(DoctorTasks *tasks, guint deadline_ms, DoctorTasksDone done, gpointer data)
{
    if (pool == NULL) {
        pool = g_thread_pool_new(run_task, NULL, MAX_THREADS, FALSE, NULL);
        under_way = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    tasks->done = done;
    tasks->data = data;
    for (guint i = 0; i < tasks->all->len; i++)
        begin(g_ptr_array_index(tasks->all, i));
    // With nothing begun the timer ends it at once, but later, as promised.
    tasks->timer = g_timeout_add(tasks->left > 0 ? deadline_ms : 0, is_late, tasks);
}
