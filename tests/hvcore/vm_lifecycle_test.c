// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: the real QEMU under TCG from launch to its end.
#include "hvcore/fs.h"
#include "hvcore/unix_socket.h"
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/vm_fixture.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void test_launch(VmFixture *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(f);
    g_assert_cmpint(hv_vm_run_state(f->vm), ==, HV_RUN_PRELAUNCH);
    g_assert_true(hv_vm_process_alive(f->vm));
    g_assert_cmpint(getsid(hv_vm_pid(f->vm)), ==, hv_vm_pid(f->vm));
    uint64_t epoch = 0;
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) recorded = hv_vm_recorded(f->run_dir, "web1", &epoch, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(epoch, ==, 7);
    struct stat status;
    g_autofree char *file = g_build_filename(f->run_dir, "web1", "process.json", NULL);
    g_assert_cmpint(stat(file, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 0777, ==, 0600);
    g_auto(GStrv) names = hv_vm_list(f->run_dir, &error);
    g_assert_cmpuint(g_strv_length(names), ==, 1);
    g_assert_cmpstr(names[0], ==, "web1");
    g_assert_true(hv_vm_set_epoch(f->vm, 8, &error));
    g_autoptr(HvDefinition) again = hv_vm_recorded(f->run_dir, "web1", &epoch, &error);
    g_assert_cmpuint(epoch, ==, 8);
}

static void test_console_joins(VmFixture *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(f);
    g_assert_true(g_file_test(hv_vm_console_path(f->vm), G_FILE_TEST_EXISTS));
}

static void test_guest_agent_joins(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    g_assert_null(hv_vm_guest_agent_path(f->vm));
    hv_vm_free(f->vm);
    hv_definition_unref(f->definition);
    f->definition = test_definition(NULL, ",\"guest_agent\":true");
    f->vm = hv_vm_new(f->definition, f->node, f->run_dir, &test_events, &f->events);
    vm_fixture_launch(f);
    HV_AUTO_FD fd = hv_unix_connect(hv_vm_guest_agent_path(f->vm), &error);
    g_assert_no_error(error);
    g_assert_cmpint(fd, >=, 0);
}

static void test_second_launch_refused(VmFixture *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(f);
    g_autoptr(HvVm) other = hv_vm_new(f->definition, f->node, f->run_dir, NULL, NULL);
    g_auto(TestAnswer) answer = {0};
    hv_vm_launch(other, HV_LAUNCH_COLD, 1, test_answer_done, &answer);
    g_assert_true(test_wait(&answer.called, 10));
    g_assert_error(answer.error, HV_ERROR, HV_ERROR_START);
    g_assert_nonnull(strstr(answer.error->message, "already"));
    g_assert_true(hv_vm_process_alive(f->vm));
}

static void test_guest_powers_off(VmFixture *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(f);
    vm_fixture_cont(f);
    test_vm_wait_state(f->vm, HV_RUN_SHUTDOWN);
    g_assert_cmpstr(f->events.shutdown_reason, ==, "guest-shutdown");
    g_assert_true(hv_vm_process_alive(f->vm));
}

static void test_pause_and_cont(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) cont = {0}, pause = {0};
    vm_fixture_launch(f);
    hv_vm_cont(f->vm, test_answer_done, &cont);
    hv_vm_pause(f->vm, test_answer_done, &pause);
    test_answer_ok(&cont);
    test_answer_ok(&pause);
    test_vm_wait_state(f->vm, HV_RUN_PAUSED);
}

static void test_quit(VmFixture *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(f);
    g_auto(TestAnswer) answer = {0};
    hv_vm_quit(f->vm, test_answer_done, &answer);
    g_assert_true(test_wait(&f->events.exited, 30));
    test_answer_ok(&answer);
    g_assert_true(WIFEXITED(f->events.exit_status));
    g_assert_cmpint(WEXITSTATUS(f->events.exit_status), ==, 0);
    g_assert_false(hv_vm_process_alive(f->vm));
    g_assert_null(f->events.shutdown_reason); // it was not the guest's wish
}

static void test_kill_fails_calls(VmFixture *f, gconstpointer data)
{
    (void)data;
    vm_fixture_launch(f);
    g_auto(TestAnswer) answer = {0};
    g_autoptr(GError) error = NULL;
    g_assert_true(hv_vm_kill(f->vm, &error));
    hv_vm_cont(f->vm, test_answer_done, &answer);
    g_assert_true(test_wait(&f->events.exited, 30));
    g_assert_true(WIFSIGNALED(f->events.exit_status));
    g_assert_true(answer.called);
    if (answer.error)
        g_assert_error(answer.error, HV_ERROR, HV_ERROR_CLOSED);
}

static void test_call_after_end(VmFixture *f, gconstpointer data)
{
    (void)data;
    test_kill_fails_calls(f, data);
    g_auto(TestAnswer) answer = {0};
    hv_vm_pause(f->vm, test_answer_done, &answer);
    g_assert_false(answer.called);
    g_assert_true(test_wait(&answer.called, 10));
    g_assert_error(answer.error, HV_ERROR, HV_ERROR_CLOSED);
}

static void test_launch_again(VmFixture *f, gconstpointer data)
{
    test_kill_fails_calls(f, data);
    vm_fixture_launch(f);
    g_assert_true(hv_vm_process_alive(f->vm));
}

static void test_own_words_of_qemu(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(HvDefinition) broken = test_definition("/nowhere/disk.img", "");
    g_autoptr(HvVm) vm = hv_vm_new(broken, f->node, f->run_dir, &test_events, &f->events);
    g_auto(TestAnswer) answer = {0};
    hv_vm_launch(vm, HV_LAUNCH_COLD, 1, test_answer_done, &answer);
    g_assert_true(test_wait(&answer.called, 60));
    g_assert_error(answer.error, HV_ERROR, HV_ERROR_START);
    g_assert_cmpstr(answer.error->message, ==,
                    "web1: /nowhere/disk.img: No such file or directory");
    g_assert_false(hv_vm_process_alive(vm));
    g_assert_false(f->events.exited);
}

// QEMU's last line is not the one that says it, and that one differs between its versions.
static void test_unsupported_machine(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(HvDefinition) newer = test_definition(NULL, "");
    g_free(newer->machine);
    newer->machine = g_strdup("pc-q35-99.0");
    g_autoptr(HvVm) vm = hv_vm_new(newer, f->node, f->run_dir, &test_events, &f->events);
    g_auto(TestAnswer) answer = {0};
    hv_vm_launch(vm, HV_LAUNCH_COLD, 1, test_answer_done, &answer);
    g_assert_true(test_wait(&answer.called, 60));
    g_assert_error(answer.error, HV_ERROR, HV_ERROR_START);
    g_assert_true(g_str_has_prefix(answer.error->message,
                                   "web1: QEMU: unsupported machine type \"pc-q35-99.0\"; "));
}

static void free_vm(HvVm *vm, const GError *error, gpointer data)
{
    (void)error;
    VmFixture *f = data;
    g_assert_true(vm == f->vm);
    f->events.exited = true;
    pid_t pid = hv_vm_pid(vm);
    (void)hv_vm_kill(vm, NULL);
    hv_vm_free(vm);
    (void)waitpid(pid, NULL, 0);
    f->vm = NULL;
}

static void test_free_in_callback(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) never = {0};
    vm_fixture_launch(f);
    hv_vm_query_status(f->vm, 5000, free_vm, f);
    hv_vm_cont(f->vm, test_answer_done, &never);
    g_assert_true(test_wait(&f->events.exited, 30));
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_false(never.called);
}

#define ADD(name, function)                                                                        \
    g_test_add("/vm/" name, VmFixture, NULL, vm_fixture_power_off, function, vm_fixture_clear)

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    ADD("launch", test_launch);
    ADD("console", test_console_joins);
    ADD("guest-agent", test_guest_agent_joins);
    ADD("second-launch-refused", test_second_launch_refused);
    ADD("guest-powers-off", test_guest_powers_off);
    ADD("pause-and-cont", test_pause_and_cont);
    ADD("quit", test_quit);
    ADD("kill-fails-calls", test_kill_fails_calls);
    ADD("call-after-end", test_call_after_end);
    ADD("launch-again", test_launch_again);
    ADD("own-words-of-qemu", test_own_words_of_qemu);
    ADD("unsupported-machine", test_unsupported_machine);
    ADD("free-in-callback", test_free_in_callback);
    return g_test_run();
}
