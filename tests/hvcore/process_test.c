// SPDX-License-Identifier: GPL-2.0-or-later
// Whether a recorded process is there: no proof, no "gone".
#include "hvcore/fs.h"
#include "hvcore/process.h"
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/support.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    TestDir *dir;
    HvDefinition *definition;
    pid_t child;
    HvProcessFile file;
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
    (void)data;
    f->dir = test_dir_new();
    f->definition = test_definition(NULL, "");
    g_autofree char *vm_dir = hv_vm_dir(f->dir, "web1");
    g_assert_cmpint(g_mkdir(vm_dir, 0700), ==, 0);
    f->child = fork();
    if (f->child == 0)
        for (;;)
            pause();
    g_autoptr(GError) error = NULL;
    f->file = (HvProcessFile){f->child, 0, hv_boot_id(&error), 5, hv_definition_ref(f->definition),
                             -1};
    g_assert_true(hv_process_start_time(f->child, &f->file.start_time, &error));
}

static void tear_down(Fixture *f, gconstpointer data)
{
    (void)data;
    (void)kill(f->child, SIGKILL);
    (void)waitpid(f->child, NULL, 0);
    hv_process_file_clear(&f->file);
    hv_definition_unref(f->definition);
    test_dir_free(f->dir);
}

static HvProcessState find(Fixture *f, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_auto(HvProcessFile) file = {0};
    HV_AUTO_FD pidfd = -1;
    g_assert_true(hv_process_file_write(f->dir, &f->file, &problem));
    return hv_process_find_name(f->dir, "web1", &file, &pidfd, error);
}

static void test_alive(Fixture *f, gconstpointer data)
{
    (void)data;
    g_assert_cmpint(find(f, NULL), ==, HV_PROCESS_ALIVE);
}

static void test_record(Fixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    g_auto(HvProcessFile) file = {0};
    g_assert_cmpint(find(f, NULL), ==, HV_PROCESS_ALIVE);
    g_assert_true(hv_process_file_read(f->dir, "web1", &file, &error));
    g_assert_cmpint(file.pid, ==, f->child);
    g_assert_cmpuint(file.start_time, ==, f->file.start_time);
    g_assert_cmpuint(file.epoch, ==, 5);
    g_autofree char *one = hv_definition_to_json(file.definition);
    g_autofree char *two = hv_definition_to_json(f->definition);
    g_assert_cmpstr(one, ==, two);
}

static void test_no_record(Fixture *f, gconstpointer data)
{
    (void)data;
    g_assert_cmpint(hv_process_look(f->dir, "other", 100, NULL, NULL), ==, HV_PROCESS_GONE);
    g_assert_cmpint(hv_process_look("/nowhere", "web1", 100, NULL, NULL), ==, HV_PROCESS_GONE);
}

static void test_pid_reused(Fixture *f, gconstpointer data)
{
    (void)data;
    f->file.start_time--;
    g_assert_cmpint(find(f, NULL), ==, HV_PROCESS_GONE);
}

static void test_no_such_pid(Fixture *f, gconstpointer data)
{
    (void)data;
    (void)kill(f->child, SIGKILL);
    (void)waitpid(f->child, NULL, 0);
    g_assert_cmpint(find(f, NULL), ==, HV_PROCESS_GONE);
}

static void test_zombie(Fixture *f, gconstpointer data)
{
    (void)data;
    siginfo_t info;
    (void)kill(f->child, SIGKILL);
    g_assert_cmpint(waitid(P_PID, (id_t)f->child, &info, WEXITED | WNOWAIT), ==, 0);
    g_assert_cmpint(kill(f->child, 0), ==, 0); // it is still there as a zombie
    g_assert_cmpint(find(f, NULL), ==, HV_PROCESS_GONE);
}

static void test_other_boot(Fixture *f, gconstpointer data)
{
    (void)data;
    f->file.boot_id[0] = f->file.boot_id[0] == '0' ? '1' : '0';
    g_assert_cmpint(find(f, NULL), ==, HV_PROCESS_GONE);
}

static void test_damaged(Fixture *f, gconstpointer data)
{
    (void)data;
    static const char *const texts[] = {"",
                                        "{",
                                        "{}",
                                        "[1]",
                                        "{\"pid\":\"1\"}",
                                        "{\"pid\":0,\"start_time\":1,\"boot_id\":\"x\",\"epoch\":1,"
                                        "\"definition\":{}}"};
    g_autofree char *path = hv_vm_file(f->dir, "web1", "process.json");
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(g_file_set_contents(path, texts[i], -1, NULL));
        g_assert_cmpint(hv_process_look(f->dir, "web1", 100, NULL, &error), ==, HV_PROCESS_UNKNOWN);
        g_assert_error(error, HV_ERROR, HV_ERROR_UNKNOWN);
    }
}

static void test_forget(Fixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(find(f, NULL), ==, HV_PROCESS_ALIVE);
    g_assert_false(hv_vm_forget(f->dir, "web1", &error));
    g_assert_error(error, HV_ERROR, HV_ERROR_UNKNOWN);
    g_clear_error(&error);
    (void)kill(f->child, SIGKILL);
    (void)waitpid(f->child, NULL, 0);
    g_assert_true(hv_vm_forget(f->dir, "web1", &error));
    g_autofree char *vm_dir = hv_vm_dir(f->dir, "web1");
    g_assert_false(g_file_test(vm_dir, G_FILE_TEST_EXISTS));
    g_assert_true(hv_vm_forget(f->dir, "web1", &error));
}

static void test_end_without_monitor(Fixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    HvRunState state = HV_RUN_RUNNING;
    g_assert_cmpint(find(f, NULL), ==, HV_PROCESS_ALIVE);
    g_assert_cmpint(hv_process_look(f->dir, "web1", 100, &state, &error), ==, HV_PROCESS_ALIVE);
    g_assert_cmpint(state, ==, HV_RUN_UNKNOWN);
    g_assert_true(hv_process_end(f->dir, "web1", 1000, 10000, &error));
    g_assert_no_error(error);
    g_assert_true(hv_process_end(f->dir, "web1", 1000, 10000, &error)); // gone already
}

// Runs as another user, in a group of its own. Its end is the caller's.
static pid_t start_as_nobody(void)
{
    int ready[2];
    char byte;
    g_assert_cmpint(pipe(ready), ==, 0);
    pid_t child = fork();
    if (child == 0) {
        bool other = setpgid(0, 0) == 0 && setresuid(65534, 65534, 65534) == 0 &&
                     prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0; // as after exec
        if (other && write(ready[1], "r", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    (void)close(ready[1]);
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    (void)close(ready[0]);
    return child;
}

static void drop_sys_nice(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    g_assert_cmpint(syscall(SYS_capget, &header, sets), ==, 0);
    sets[0].effective &= ~(1U << CAP_SYS_NICE);
    sets[0].permitted &= ~(1U << CAP_SYS_NICE);
    g_assert_cmpint(syscall(SYS_capset, &header, sets), ==, 0);
}

// vmferryd's unit has no CAP_SYS_NICE.
static void test_last(void)
{
    uid_t owner = 0;
    if (geteuid() != 0) {
        g_test_skip("only root can become another user");
        return;
    }
    int own = getpriority(PRIO_PROCESS, 0);
    pid_t child = start_as_nobody();
    drop_sys_nice();
    g_assert_true(hv_process_owner(child, &owner));
    g_assert_cmpuint(owner, ==, 65534);
    hv_process_last(child);
    g_assert_cmpint(getpriority(PRIO_PROCESS, (id_t)child), ==, 19);
    g_assert_cmpint(getpriority(PRIO_PROCESS, 0), ==, own);
    g_assert_cmpuint(geteuid(), ==, 0);
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    g_assert_false(hv_process_owner(child, &owner));
    hv_process_last(child); // does nothing to anybody
}

#define ADD(name, function) g_test_add("/process/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    ADD("alive", test_alive);
    ADD("record", test_record);
    ADD("no-record", test_no_record);
    ADD("pid-reused", test_pid_reused);
    ADD("no-such-pid", test_no_such_pid);
    ADD("zombie", test_zombie);
    ADD("other-boot", test_other_boot);
    ADD("damaged", test_damaged);
    ADD("forget", test_forget);
    ADD("end-without-monitor", test_end_without_monitor);
    g_test_add_func("/process/last", test_last);
    return g_test_run();
}
