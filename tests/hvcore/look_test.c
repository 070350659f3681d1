// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: what the resource agent sees and does without vmferryd.
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/vm_fixture.h"

#include <signal.h>

static void expect(VmFixture *f, HvRunState expected)
{
    g_autoptr(GError) error = NULL;
    HvRunState state = HV_RUN_UNKNOWN;
    g_assert_cmpint(hv_process_look(f->run_dir, "web1", 5000, &state, &error), ==,
                    HV_PROCESS_ALIVE);
    g_assert_no_error(error);
    g_assert_cmpstr(hv_run_state_name(state), ==, hv_run_state_name(expected));
}

static void test_states(VmFixture *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(f);
    expect(f, HV_RUN_PRELAUNCH);
    vm_fixture_cont(f);
    expect(f, HV_RUN_RUNNING); // again and again, while the first monitor is in use
    expect(f, HV_RUN_RUNNING);
}

static void test_silent_monitor(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    HvRunState state = HV_RUN_RUNNING;
    vm_fixture_launch(f);
    g_assert_cmpint(kill(hv_vm_pid(f->vm), SIGSTOP), ==, 0);
    g_assert_cmpint(hv_process_look(f->run_dir, "web1", 200, &state, &error), ==, HV_PROCESS_ALIVE);
    g_assert_cmpint(state, ==, HV_RUN_UNKNOWN);
}

// A guest that does not react to the power button is killed when its time is over.
static void test_end_deaf_guest(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    vm_fixture_launch(f);
    vm_fixture_cont(f);
    gint64 start = g_get_monotonic_time();
    g_assert_true(hv_process_end(f->run_dir, "web1", 500, 20000, &error));
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 450 * 1000);
    g_assert_cmpint(hv_process_look(f->run_dir, "web1", 100, NULL, &error), ==, HV_PROCESS_GONE);
}

// One that has powered off, or never ran, costs no grace.
static void test_end_without_grace(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    vm_fixture_launch(f);
    gint64 start = g_get_monotonic_time();
    g_assert_true(hv_process_end(f->run_dir, "web1", 60000, 20000, &error));
    g_assert_cmpint(g_get_monotonic_time() - start, <, 30 * G_USEC_PER_SEC);
}

#define ADD(name, function)                                                                        \
    g_test_add("/look/" name, VmFixture, NULL, vm_fixture_count, function, vm_fixture_clear)

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    ADD("states", test_states);
    ADD("silent-monitor", test_silent_monitor);
    ADD("end-deaf-guest", test_end_deaf_guest);
    ADD("end-without-grace", test_end_without_grace);
    return g_test_run();
}
