// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/worker.h"

// Enough that hung storage of some VMs does not keep the others waiting.
enum { MAX_THREADS = 64 };

typedef struct {
    AgentWorkFn run;
    AgentWorkDoneFn done;
    gpointer work;
} Item;

static gboolean deliver(gpointer data)
{
    g_autofree Item *item = data;
    item->done(item->work);
    return G_SOURCE_REMOVE;
}

static void run_item(gpointer data, gpointer unused)
{
    (void)unused;
    Item *item = data;
    item->run(item->work);
    g_autoptr(GSource) source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_HIGH);
    g_source_set_callback(source, deliver, item, NULL);
    g_source_attach(source, NULL);
}

static GThreadPool *pool; // made with the first work

void agent_worker_end(void)
{
    if (pool != NULL)
        g_thread_pool_free(g_steal_pointer(&pool), TRUE, TRUE);
}

void agent_worker_run(AgentWorkFn run, AgentWorkDoneFn done, gpointer work)
{
    if (pool == NULL)
        pool = g_thread_pool_new(run_item, NULL, MAX_THREADS, FALSE, NULL);
    Item *item = g_new(Item, 1);
    *item = (Item){.run = run, .done = done, .work = work};
    g_thread_pool_push(pool, item, NULL);
}
