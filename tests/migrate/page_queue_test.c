// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/page_queue.h"

#include <glib.h>

enum { TOTAL = 5000 };

typedef struct FerryPageQueue Queue;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Queue, ferry_page_queue_free)

static void is_run(const FerryRun *run, uint64_t first, uint32_t n, bool fault)
{
    g_assert_nonnull(run);
    g_assert_cmpuint(run->first, ==, first);
    g_assert_cmpuint(run->n, ==, n);
    g_assert_cmpint(run->fault, ==, fault);
}

static void send_all(Queue *queue, FerryRun *run)
{
    for (uint32_t i = 0; i < run->n; i++)
        g_assert_true(ferry_page_queue_sent(queue, run->first + i));
    ferry_page_queue_finish(queue, run);
}

static void test_in_order(void)
{
    g_autoptr(Queue) queue = ferry_page_queue_new(TOTAL, false);
    uint64_t next = 0;
    for (FerryRun *run; (run = ferry_page_queue_take(queue, false, 200)) != NULL;) {
        is_run(run, next, (uint32_t)MIN(TOTAL - next, 200u), false);
        next += run->n;
        g_assert_false(ferry_page_queue_done(queue));
        send_all(queue, run);
    }
    g_assert_cmpuint(next, ==, TOTAL);
    g_assert_true(ferry_page_queue_done(queue));
}

// The fault, its stretch, around it, then from the beginning.
static void test_fault_first(void)
{
    g_autoptr(Queue) queue = ferry_page_queue_new(TOTAL, false);
    send_all(queue, ferry_page_queue_take(queue, false, 10));
    ferry_page_queue_fault(queue, 2010, 1, 5);
    g_assert_true(ferry_page_queue_urgent(queue));
    FerryRun *run = ferry_page_queue_take(queue, false, 100);
    is_run(run, 2010, 1, true);
    g_assert_cmpint(run->asked_at, ==, 5);
    g_assert_true(ferry_page_queue_urgent(queue));
    send_all(queue, run);
    g_assert_false(ferry_page_queue_urgent(queue));
    run = ferry_page_queue_take(queue, false, 100);
    is_run(run, 1984, 26, false);
    g_assert_true(run->near);
    send_all(queue, run);
    run = ferry_page_queue_take(queue, false, 100);
    is_run(run, 2011, 2048 - 2011, false);
    send_all(queue, run);
    run = ferry_page_queue_take(queue, false, 100);
    is_run(run, 2048, 100, false);
    g_assert_false(run->near);
}

static void test_hot(void)
{
    static const uint64_t hot[] = {4000, 300, 301, 302, 7};
    g_autoptr(Queue) queue = ferry_page_queue_new(TOTAL, false);
    ferry_page_queue_hot(queue, hot, G_N_ELEMENTS(hot));
    is_run(ferry_page_queue_take(queue, false, 100), 4000, 1, false);
    is_run(ferry_page_queue_take(queue, false, 100), 300, 3, false);
    is_run(ferry_page_queue_take(queue, false, 100), 7, 1, false);
    is_run(ferry_page_queue_take(queue, false, 100), 0, 7, false);
    is_run(ferry_page_queue_take(queue, false, 100), 8, 100, false);
}

static void test_faults_only(void)
{
    g_autoptr(Queue) queue = ferry_page_queue_new(TOTAL, false);
    g_assert_null(ferry_page_queue_take(queue, true, 100));
    ferry_page_queue_fault(queue, 9, 1, 0);
    is_run(ferry_page_queue_take(queue, true, 100), 9, 1, true);
    g_assert_null(ferry_page_queue_take(queue, true, 100));
}

// A fault for what is on its way is told to whom it concerns, once.
static void test_wanted(void)
{
    g_autoptr(Queue) queue = ferry_page_queue_new(TOTAL, false);
    FerryRun *run = ferry_page_queue_take(queue, false, 100);
    ferry_page_queue_fault(queue, 50, 1, 8);
    ferry_page_queue_fault(queue, 50, 1, 9);
    g_assert_cmpuint(run->n_wanted, ==, 1);
    g_assert_cmpuint(run->wanted[0].page, ==, 50);
    g_assert_cmpint(run->wanted[0].asked_at, ==, 8);
    g_assert_true(ferry_page_queue_urgent(queue));
    g_assert_null(ferry_page_queue_take(queue, true, 100));
    run->n_wanted = 0;
    send_all(queue, run);
    g_assert_false(ferry_page_queue_urgent(queue));
}

// One that bulk takes while it waits in the queue of faults, too.
static void test_wanted_later(void)
{
    g_autoptr(Queue) queue = ferry_page_queue_new(TOTAL, false);
    ferry_page_queue_fault(queue, 70, 1, 0);
    FerryRun *first = ferry_page_queue_take(queue, false, 100);
    FerryRun *near = ferry_page_queue_take(queue, false, 100);
    is_run(near, 64, 6, false);
    ferry_page_queue_fault(queue, 65, 1, 0);
    g_assert_cmpuint(near->n_wanted, ==, 1);
    g_assert_cmpuint(first->n_wanted, ==, 0);
    ferry_page_queue_fault(queue, 70, 1, 0);
    g_assert_cmpuint(first->n_wanted, ==, 0);
}

static void test_never_twice(void)
{
    g_autoptr(Queue) queue = ferry_page_queue_new(TOTAL, false);
    FerryRun *run = ferry_page_queue_take(queue, false, 100);
    g_assert_true(ferry_page_queue_sent(queue, 3));
    g_assert_false(ferry_page_queue_sent(queue, 3));
    ferry_page_queue_finish(queue, run);
    ferry_page_queue_fault(queue, 3, 1, 0);
    g_assert_null(ferry_page_queue_take(queue, true, 100));
}

// Zero pages that bulk did not send are still answered.
static void test_zero_asked_for(void)
{
    g_autoptr(Queue) queue = ferry_page_queue_new(TOTAL, false);
    for (FerryRun *run; (run = ferry_page_queue_take(queue, false, 256)) != NULL;)
        ferry_page_queue_finish(queue, run);
    g_assert_true(ferry_page_queue_done(queue));
    ferry_page_queue_fault(queue, 100, 2, 0);
    g_assert_false(ferry_page_queue_done(queue));
    is_run(ferry_page_queue_take(queue, true, 100), 100, 1, true);
    is_run(ferry_page_queue_take(queue, true, 100), 101, 1, true);
}

static void test_known(void)
{
    g_autoptr(Queue) queue = ferry_page_queue_new(TOTAL, false);
    ferry_page_queue_known(queue, 0, 1);
    ferry_page_queue_known(queue, 5, 1);
    is_run(ferry_page_queue_take(queue, false, 256), 1, 4, false);
    is_run(ferry_page_queue_take(queue, false, 256), 6, 256, false);
    ferry_page_queue_fault(queue, 5, 1, 0);
    g_assert_null(ferry_page_queue_take(queue, true, 1));
}

static void count(Queue *queue, FerryRun *run, uint8_t *seen)
{
    for (uint32_t i = 0; i < run->n; i++)
        if (ferry_page_queue_sent(queue, run->first + i))
            seen[run->first + i]++;
    run->n_wanted = 0;
    ferry_page_queue_finish(queue, run);
}

// Whatever is asked for, and in whatever order runs end: each page once.
static void test_each_once(void)
{
    g_autoptr(Queue) queue = ferry_page_queue_new(TOTAL, false);
    g_autoptr(GRand) random = g_rand_new_with_seed(3);
    uint8_t seen[TOTAL] = {0};
    FerryRun *flying[4] = {0};
    while (!ferry_page_queue_done(queue)) {
        FerryRun **slot = &flying[g_rand_int_range(random, 0, 4)];
        if (*slot != NULL)
            count(queue, *slot, seen);
        *slot = ferry_page_queue_take(queue, g_rand_boolean(random), 64);
        if (g_rand_int_range(random, 0, 3) == 0)
            ferry_page_queue_fault(queue, (uint64_t)g_rand_int_range(random, 0, TOTAL), 1, 0);
    }
    for (size_t page = 0; page < TOTAL; page++)
        g_assert_cmpuint(seen[page], ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/page-queue/in-order", test_in_order);
    g_test_add_func("/page-queue/fault-first", test_fault_first);
    g_test_add_func("/page-queue/hot", test_hot);
    g_test_add_func("/page-queue/faults-only", test_faults_only);
    g_test_add_func("/page-queue/wanted", test_wanted);
    g_test_add_func("/page-queue/wanted-later", test_wanted_later);
    g_test_add_func("/page-queue/never-twice", test_never_twice);
    g_test_add_func("/page-queue/zero-asked-for", test_zero_asked_for);
    g_test_add_func("/page-queue/known", test_known);
    g_test_add_func("/page-queue/each-once", test_each_once);
    return g_test_run();
}
