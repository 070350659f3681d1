// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: a QEMU that another object started is found again.
#include "hvcore/fs.h"
#include "hvcore/process.h"
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/vm_fixture.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

// What a restart of the agent is: the object goes, the process stays.
static void replace_vm(VmFixture *f)
{
    hv_vm_free(f->vm);
    f->vm = hv_vm_new(f->definition, f->node, f->run_dir, &test_events, &f->events);
}

static void adopt(VmFixture *f, TestAnswer *answer)
{
    hv_vm_adopt(f->vm, test_answer_done, answer);
    g_assert_false(answer->called);
    g_assert_true(test_wait(&answer->called, 60));
    g_assert_cmpuint(answer->count, ==, 1);
}

static void test_adopt(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) answer = {0};
    vm_fixture_launch(f);
    vm_fixture_cont(f);
    pid_t pid = hv_vm_pid(f->vm);
    replace_vm(f);
    g_assert_false(hv_vm_process_alive(f->vm));
    adopt(f, &answer);
    g_assert_no_error(answer.error);
    g_assert_cmpint(hv_vm_pid(f->vm), ==, pid);
    g_assert_cmpuint(hv_vm_epoch(f->vm), ==, 7);
    g_assert_cmpint(hv_vm_run_state(f->vm), ==, HV_RUN_RUNNING);
    g_assert_true(hv_vm_kill(f->vm, NULL));
    g_assert_true(test_wait(&f->events.exited, 30));
    g_assert_true(WIFSIGNALED(f->events.exit_status)); // still this process's child
}

static void test_none(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) answer = {0};
    adopt(f, &answer);
    g_assert_error(answer.error, HV_ERROR, HV_ERROR_NOT_RUNNING);
}

static void test_dead(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) answer = {0};
    vm_fixture_launch(f);
    test_vm_reap(f->vm);
    replace_vm(f);
    adopt(f, &answer);
    g_assert_error(answer.error, HV_ERROR, HV_ERROR_NOT_RUNNING);
}

static void test_what_runs_counts(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) answer = {0};
    vm_fixture_launch(f);
    hv_definition_unref(f->definition);
    f->definition = test_definition("/other", ",\"vcpus\":4");
    replace_vm(f);
    adopt(f, &answer);
    g_assert_no_error(answer.error);
    g_assert_cmpuint(hv_vm_definition(f->vm)->vcpus, ==, 1);
    g_autofree char *pending = hv_definition_pending(hv_vm_definition(f->vm), f->definition);
    g_assert_cmpstr(pending, ==, "vcpus; disks");
}

static void test_other_uuid(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) answer = {0};
    vm_fixture_launch(f);
    pid_t pid = hv_vm_pid(f->vm);
    g_autofree char *text = hv_definition_to_json(f->definition);
    *strstr(text, "3f2a6c1e") = '4';
    HvDefinition *other = hv_definition_parse(text, NULL);
    g_assert_nonnull(other);
    hv_definition_unref(f->definition);
    f->definition = other;
    replace_vm(f);
    adopt(f, &answer);
    g_assert_error(answer.error, HV_ERROR, HV_ERROR_UNKNOWN);
    g_assert_nonnull(strstr(answer.error->message, "another uuid"));
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

// Its monitor is silent: unknown, but the process can be killed through this object.
static void test_stopped_process(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) answer = {0};
    vm_fixture_launch(f);
    g_assert_cmpint(kill(hv_vm_pid(f->vm), SIGSTOP), ==, 0);
    replace_vm(f);
    adopt(f, &answer);
    g_assert_error(answer.error, HV_ERROR, HV_ERROR_UNKNOWN);
    g_assert_true(hv_vm_process_alive(f->vm));
    g_assert_true(hv_vm_kill(f->vm, NULL));
    g_assert_true(test_wait(&f->events.exited, 30));
}

#define ADD(name, function)                                                                        \
    g_test_add("/adopt/" name, VmFixture, NULL, vm_fixture_count, function, vm_fixture_clear)

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    ADD("adopt", test_adopt);
    ADD("none", test_none);
    ADD("dead", test_dead);
    ADD("what-runs-counts", test_what_runs_counts);
    ADD("other-uuid", test_other_uuid);
    ADD("stopped-process", test_stopped_process);
    return g_test_run();
}
