// SPDX-License-Identifier: GPL-2.0-or-later
// Whoever tells from another thread does so when the test is about to wait: a wait that returns too
// early finds that nothing has been told yet.
#include "migrate/leash.h"

#include <glib.h>

enum { MIB = 1024 * 1024, A_MOMENT_US = 50 * 1000, STALL_US = 500 * 1000 };

typedef struct FerryLeash Leash;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Leash, ferry_leash_free)

typedef struct {
    FerryLeash *leash;
    uint64_t ahead; // 0: the leash is cut
    int told;
} Teller;

static gpointer tell(gpointer data)
{
    Teller *teller = data;
    g_usleep(A_MOMENT_US);
    g_atomic_int_set(&teller->told, 1);
    if (teller->ahead > 0)
        ferry_leash_ahead(teller->leash, teller->ahead);
    else
        ferry_leash_cut(teller->leash);
    return NULL;
}

static void wait_until_told(FerryLeash *leash, uint64_t saver, bool last, uint64_t ahead)
{
    Teller teller = {leash, ahead, 0};
    GThread *thread = g_thread_new("tell", tell, &teller);
    ferry_leash_wait(leash, saver, last);
    g_assert_true(g_atomic_int_get(&teller.told));
    g_thread_join(thread);
}

// A wait that would not end makes ctest's time run out.
static void test_nobody_reads_along(void)
{
    g_autoptr(Leash) leash = ferry_leash_new();
    gint64 begin = g_get_monotonic_time();
    ferry_leash_wait(leash, G_MAXUINT64, true);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, STALL_US);
}

static void test_near(void)
{
    g_autoptr(Leash) leash = ferry_leash_new();
    ferry_leash_ahead(leash, 100 * MIB);
    ferry_leash_wait(leash, 132 * MIB, false);
    wait_until_told(leash, 132 * MIB + 1, false, 101 * MIB);
}

static void test_last(void)
{
    g_autoptr(Leash) leash = ferry_leash_new();
    ferry_leash_ahead(leash, 100 * MIB);
    ferry_leash_wait(leash, 101 * MIB, true);
    wait_until_told(leash, 102 * MIB, true, 101 * MIB);
}

static void test_cut(void)
{
    g_autoptr(Leash) leash = ferry_leash_new();
    ferry_leash_ahead(leash, 1);
    wait_until_told(leash, 500 * MIB, false, 0);
    gint64 begin = g_get_monotonic_time();
    ferry_leash_wait(leash, 900 * MIB, true);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, STALL_US); // nobody is waited for any more
}

static void test_silence(void)
{
    g_autoptr(Leash) leash = ferry_leash_new();
    ferry_leash_ahead(leash, 1);
    gint64 begin = g_get_monotonic_time();
    ferry_leash_wait(leash, 500 * MIB, false);
    gint64 given_up = g_get_monotonic_time();
    g_assert_cmpint(given_up - begin, >=, STALL_US);
    ferry_leash_wait(leash, 500 * MIB, true);
    g_assert_cmpint(g_get_monotonic_time() - given_up, <, STALL_US);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/leash/nobody-reads-along", test_nobody_reads_along);
    g_test_add_func("/leash/near", test_near);
    g_test_add_func("/leash/last", test_last);
    g_test_add_func("/leash/cut", test_cut);
    g_test_add_func("/leash/silence", test_silence);
    return g_test_run();
}
