// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/hvcore/support.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

TestDir *test_dir_new(void)
{
    g_autoptr(GError) error = NULL;
    char *dir = g_dir_make_tmp("hvcore-XXXXXX", &error);
    g_assert_no_error(error);
    return dir;
}

static void remove_tree(const char *path)
{
    if (g_file_test(path, G_FILE_TEST_IS_DIR) && !g_file_test(path, G_FILE_TEST_IS_SYMLINK)) {
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        const char *name;
        while (dir && (name = g_dir_read_name(dir))) {
            g_autofree char *child = g_build_filename(path, name, NULL);
            remove_tree(child);
        }
    }
    (void)g_remove(path);
}

void test_dir_free(TestDir *dir)
{
    if (!dir)
        return;
    remove_tree(dir);
    g_free(dir);
}

static gboolean on_too_late(gpointer data)
{
    *(bool *)data = true;
    return G_SOURCE_CONTINUE;
}

bool test_wait_for(bool (*condition)(gpointer data), gpointer data, unsigned seconds)
{
    bool too_late = false;
    guint timer = g_timeout_add_seconds(seconds, on_too_late, &too_late);
    while (!condition(data) && !too_late)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(timer);
    return condition(data);
}

static bool is_true(gpointer data)
{
    return *(const bool *)data;
}

bool test_wait(const bool *condition, unsigned seconds)
{
    return test_wait_for(is_true, (gpointer)condition, seconds);
}

char *test_definition_text(const char *disk, const char *extra)
{
    g_autofree char *disks =
        disk ? g_strdup_printf(",\"disks\":[{\"type\":\"file\",\"path\":\"%s\"}]", disk)
             : g_strdup("");
    return g_strdup_printf("{\"name\":\"web1\",\"uuid\":\"3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60\","
                           "\"memory_mib\":64,\"machine\":\"pc-q35-7.2\","
                           "\"state_area\":\"/shared/web1.state\"%s%s}",
                           disks, extra);
}

HvDefinition *test_definition(const char *disk, const char *extra)
{
    g_autofree char *text = test_definition_text(disk, extra);
    g_autoptr(GError) error = NULL;
    HvDefinition *definition = hv_definition_parse(text, &error);
    g_assert_no_error(error);
    return definition;
}

void test_refused(const char *text, const char *prefix, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HvDefinition) definition = hv_definition_parse(text, &error);
    g_assert_null(definition);
    g_assert_error(error, HV_ERROR, HV_ERROR_DEFINITION);
    if (!g_str_has_prefix(error->message, prefix) || !strstr(error->message, part))
        g_error("\"%s\" does not begin with \"%s\" and hold \"%s\"", error->message, prefix, part);
}

char *test_boot_disk(const char *dir, const unsigned char *code, size_t length)
{
    enum { SIZE = 1024 * 1024 };
    g_autofree char *image = g_malloc0(SIZE);
    g_autoptr(GError) error = NULL;
    char *path = g_build_filename(dir, "boot.img", NULL);
    memcpy(image, code, length);
    image[510] = 0x55;
    image[511] = (char)0xaa;
    g_file_set_contents(path, image, SIZE, &error);
    g_assert_no_error(error);
    return path;
}

void test_answer_done(HvVm *vm, const GError *error, gpointer data)
{
    (void)vm;
    TestAnswer *answer = data;
    answer->called = true;
    answer->count++;
    g_clear_error(&answer->error);
    answer->error = error ? g_error_copy(error) : NULL;
}

void test_answer_clear(TestAnswer *answer)
{
    g_clear_error(&answer->error);
}

void test_answer_ok(TestAnswer *answer)
{
    g_assert_true(test_wait(&answer->called, 60));
    g_assert_no_error(answer->error);
    g_assert_cmpuint(answer->count, ==, 1);
}

static void on_exited(HvVm *vm, int status, gpointer data)
{
    (void)vm;
    TestEvents *events = data;
    events->exited = true;
    events->exit_status = status;
}

static void on_migration(HvVm *vm, HvMigrationStatus status, gpointer data)
{
    (void)vm;
    ((TestEvents *)data)->migration = status;
}

static void on_guest_shutdown(HvVm *vm, const char *reason, gpointer data)
{
    (void)vm;
    TestEvents *events = data;
    g_free(events->shutdown_reason);
    events->shutdown_reason = g_strdup(reason);
}

const HvVmEvents test_events = {
    .exited = on_exited, .migration = on_migration, .guest_shutdown = on_guest_shutdown};

void test_events_clear(TestEvents *events)
{
    g_clear_pointer(&events->shutdown_reason, g_free);
}

HvNode *test_node(void)
{
    HvNode *node = g_new0(HvNode, 1);
    node->qemu_path = g_find_program_in_path("qemu-system-x86_64");
    g_assert_nonnull(node->qemu_path);
    node->launcher = g_strdup(TEST_LAUNCHER);
    node->accelerator = g_strdup("tcg");
    return node;
}

void test_vm_reap(HvVm *vm)
{
    pid_t pid = vm ? hv_vm_pid(vm) : 0;
    if (!pid)
        return;
    struct pollfd gone = {pidfd_open(pid, 0), POLLIN, 0};
    (void)hv_vm_kill(vm, NULL);
    (void)poll(&gone, 1, 30000);
    (void)waitpid(pid, NULL, WNOHANG);
    (void)close(gone.fd);
}

typedef struct {
    HvVm *vm;
    HvRunState state;
} Wanted;

static bool has_state(gpointer data)
{
    const Wanted *wanted = data;
    return hv_vm_run_state(wanted->vm) == wanted->state;
}

void test_vm_wait_state(HvVm *vm, HvRunState state)
{
    Wanted wanted = {vm, state};
    if (!test_wait_for(has_state, &wanted, 60))
        g_error("state is %s, not %s", hv_run_state_name(hv_vm_run_state(vm)),
                hv_run_state_name(state));
}
