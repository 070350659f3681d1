// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-saver as a process: all its threads give way to the guest.
#include "tests/migrate/area_support.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NICE = 5, LINE_BYTES = 256 };

typedef struct {
    AreaFixture area;
    GPid pid;
    int in, out;
} Saver;

static void set_up(Saver *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    char line[LINE_BYTES] = "";
    area_fixture_file(&f->area, 0);
    area_fixture_saving(&f->area, 64);
    g_autofree char *socket = g_build_filename(f->area.dir, "saver.sock", NULL);
    const char *argv[] = {LIBEXEC_DIR "/vmferry-saver",
                          "--area",
                          f->area.path,
                          "--socket",
                          socket,
                          "--epoch",
                          "1",
                          NULL};
    g_spawn_async_with_pipes(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                             NULL, &f->pid, &f->in, &f->out, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(read(f->out, line, sizeof line - 1), >, 0);
    g_assert_nonnull(strstr(line, "\"listening\"")); // it has all its threads now
}

static void tear_down(Saver *f, gconstpointer data)
{
    (void)data;
    close(f->in); // as if the agent had ended
    g_assert_cmpint(waitpid(f->pid, NULL, 0), ==, f->pid);
    close(f->out);
    area_fixture_clear(&f->area);
}

static void test_nice(Saver *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_strdup_printf("/proc/%d/task", f->pid);
    g_autoptr(GDir) tasks = g_dir_open(path, 0, &error);
    g_assert_no_error(error);
    int threads = 0;
    if (getpriority(PRIO_PROCESS, 0) > NICE) {
        g_test_skip("the test itself is nicer");
        return;
    }
    for (const char *id; (id = g_dir_read_name(tasks)) != NULL; threads++) {
        pid_t thread = (pid_t)strtoul(id, NULL, 10);
        g_assert_cmpint(getpriority(PRIO_PROCESS, (id_t)thread), ==, NICE);
        g_assert_cmpint(sched_getscheduler(thread), ==, SCHED_BATCH);
    }
    g_assert_cmpint(threads, >, 2); // reader, writers, the one that waits for the agent's end
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/saver/nice", Saver, NULL, set_up, test_nice, tear_down);
    return g_test_run();
}
