// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: a VM is saved to a unix socket while it runs, and the bytes are loaded again.
#include "hvcore/fs.h"
#include "hvcore/unix_socket.h"
#include "tests/hvcore/isolate.h"
#include "tests/hvcore/vm_fixture.h"

#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    int listener;
    char *path;
    GByteArray *bytes;
    bool ended;
} Sink;

static gboolean on_bytes(gint fd, GIOCondition condition, gpointer pointer)
{
    (void)condition;
    static guint8 chunk[256 * 1024];
    Sink *sink = pointer;
    ssize_t n = recv(fd, chunk, sizeof chunk, 0);
    if (n > 0) {
        g_byte_array_append(sink->bytes, chunk, (guint)n);
        return G_SOURCE_CONTINUE;
    }
    sink->ended = true;
    (void)close(fd);
    return G_SOURCE_REMOVE;
}

static gboolean on_connection(gint fd, GIOCondition condition, gpointer pointer)
{
    (void)condition;
    int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    g_assert_cmpint(connection, >=, 0);
    (void)g_unix_fd_add(connection, G_IO_IN | G_IO_HUP, on_bytes, pointer);
    return G_SOURCE_REMOVE;
}

static void sink_open(Sink *sink, const char *dir)
{
    g_autoptr(GError) error = NULL;
    *sink = (Sink){.path = g_build_filename(dir, "saver.sock", NULL), .bytes = g_byte_array_new()};
    sink->listener = hv_unix_listen(sink->path, &error);
    g_assert_no_error(error);
    (void)g_unix_fd_add(sink->listener, G_IO_IN, on_connection, sink);
}

static void sink_close(Sink *sink)
{
    hv_close_fd(&sink->listener);
    g_free(sink->path);
    g_byte_array_unref(sink->bytes);
}

static bool is_completed(gpointer data)
{
    return ((VmFixture *)data)->events.migration == HV_MIGRATION_COMPLETED;
}

static void save(VmFixture *f, Sink *sink)
{
    g_auto(TestAnswer) answer = {0};
    sink_open(sink, f->dir);
    hv_vm_save(f->vm, sink->path, 20, test_answer_done, &answer);
    test_answer_ok(&answer);
    g_assert_true(test_wait(&sink->ended, 60));
    g_assert_true(test_wait_for(is_completed, f, 60));
    test_vm_wait_state(f->vm, HV_RUN_POSTMIGRATE);
    g_assert_cmpint(memcmp(sink->bytes->data, "QEVM\0\0\0\3", 8), ==, 0);
}

typedef struct {
    bool called;
    HvMigration migration;
} Info;

static void on_info(HvVm *vm, const HvMigration *migration, const GError *error, gpointer data)
{
    (void)vm;
    Info *info = data;
    g_assert_no_error(error);
    info->migration = *migration;
    info->called = true;
}

static void test_save(VmFixture *f, gconstpointer data)
{
    (void)data;
    Sink sink;
    Info info = {0};
    vm_fixture_launch(f);
    vm_fixture_cont(f);
    save(f, &sink);
    hv_vm_query_migration(f->vm, on_info, &info);
    g_assert_true(test_wait(&info.called, 30));
    g_assert_cmpint(info.migration.status, ==, HV_MIGRATION_COMPLETED);
    g_assert_cmpuint(info.migration.ram_total, >=, (uint64_t)64 << 20);
    g_assert_cmpuint(info.migration.ram_remaining, ==, 0);
    g_assert_cmpuint(info.migration.passes, >=, 2);
    g_assert_cmpstr(info.migration.error, ==, "");
    sink_close(&sink);
}

static void test_way_back(VmFixture *f, gconstpointer data)
{
    Sink again;
    test_save(f, data);
    vm_fixture_cont(f);
    test_vm_wait_state(f->vm, HV_RUN_RUNNING);
    save(f, &again); // and a second save of the same QEMU
    sink_close(&again);
}

static gpointer feed(gpointer pointer)
{
    Sink *sink = pointer;
    g_autofree char *path = g_strconcat(sink->path, ".in", NULL);
    HV_AUTO_FD fd = hv_unix_connect(path, NULL);
    g_assert_cmpint(fd, >=, 0);
    (void)g_unix_set_fd_nonblocking(fd, FALSE, NULL);
    for (guint done = 0; done < sink->bytes->len;) {
        ssize_t n = send(fd, sink->bytes->data + done, sink->bytes->len - done, MSG_NOSIGNAL);
        if (n < 0)
            break;
        done += (guint)n;
    }
    return NULL;
}

static void load(VmFixture *f, Sink *sink)
{
    g_auto(TestAnswer) launched = {0}, loading = {0};
    g_autofree char *path = g_strconcat(sink->path, ".in", NULL);
    hv_vm_launch(f->vm, HV_LAUNCH_INCOMING, 8, test_answer_done, &launched);
    test_answer_ok(&launched);
    g_assert_cmpint(hv_vm_run_state(f->vm), ==, HV_RUN_INMIGRATE);
    hv_vm_load(f->vm, path, false, test_answer_done, &loading);
    test_answer_ok(&loading);
    GThread *thread = g_thread_new("feed", feed, sink);
    g_thread_join(thread);
}

static void test_load(VmFixture *f, gconstpointer data)
{
    (void)data;
    Sink sink;
    g_auto(TestAnswer) quit = {0}, announce = {0};
    vm_fixture_launch(f);
    vm_fixture_cont(f);
    save(f, &sink);
    hv_vm_quit(f->vm, test_answer_done, &quit);
    g_assert_true(test_wait(&f->events.exited, 30));
    f->events.migration = HV_MIGRATION_NONE;
    load(f, &sink);
    test_vm_wait_state(f->vm, HV_RUN_PAUSED);
    g_assert_true(test_wait_for(is_completed, f, 60));
    vm_fixture_cont(f);
    test_vm_wait_state(f->vm, HV_RUN_RUNNING);
    hv_vm_announce(f->vm, test_answer_done, &announce);
    test_answer_ok(&announce);
    sink_close(&sink);
}

static void test_damaged_image(VmFixture *f, gconstpointer data)
{
    (void)data;
    Sink sink = {.listener = -1,
                 .path = g_build_filename(f->dir, "saver.sock", NULL),
                 .bytes = g_byte_array_new()};
    g_byte_array_append(sink.bytes, (const guint8 *)"QEVM\0\0\0\3garbage", 15);
    load(f, &sink);
    g_assert_true(test_wait(&f->events.exited, 60)); // QEMU gives up, and that is proven
    sink_close(&sink);
}

static bool is_cancelled(gpointer data)
{
    return ((VmFixture *)data)->events.migration == HV_MIGRATION_CANCELLED;
}

static void test_cancel(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) answer = {0}, cancel = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(f->dir, "never-read.sock", NULL);
    HV_AUTO_FD listener = hv_unix_listen(path, &error); // nobody reads: the save cannot end
    vm_fixture_launch(f);
    vm_fixture_cont(f);
    hv_vm_save(f->vm, path, 20, test_answer_done, &answer);
    test_answer_ok(&answer);
    hv_vm_save_end(f->vm, test_answer_done, &cancel);
    test_answer_ok(&cancel);
    g_assert_true(test_wait_for(is_cancelled, f, 60));
    test_vm_wait_state(f->vm, HV_RUN_RUNNING);
}

static bool is_failed(gpointer data)
{
    return ((VmFixture *)data)->events.migration == HV_MIGRATION_FAILED;
}

static void test_saver_dies(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) answer = {0};
    g_autofree char *path = g_build_filename(f->dir, "dies.sock", NULL);
    HV_AUTO_FD listener = hv_unix_listen(path, NULL);
    vm_fixture_launch(f);
    vm_fixture_cont(f);
    hv_vm_save(f->vm, path, 20, test_answer_done, &answer);
    test_answer_ok(&answer);
    HV_AUTO_FD connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    hv_close_fd(&connection);
    g_assert_true(test_wait_for(is_failed, f, 60));
    test_vm_wait_state(f->vm, HV_RUN_RUNNING);
}

static void test_no_saver(VmFixture *f, gconstpointer data)
{
    (void)data;
    g_auto(TestAnswer) answer = {0};
    g_autofree char *path = g_build_filename(f->dir, "nobody.sock", NULL);
    vm_fixture_launch(f);
    hv_vm_save(f->vm, path, 20, test_answer_done, &answer);
    g_assert_true(test_wait(&answer.called, 30));
    if (!answer.error) // QEMU tells it by the answer or, later, by the status
        g_assert_true(test_wait_for(is_failed, f, 60));
}

// --- a guest that writes faster than its pages are read ---

typedef struct {
    VmFixture *f;
    int fd;
    GString *head; // the stream's first bytes
    guint timer;
    bool asking, throttled;
    unsigned max_seen, samples;
} Slow;

enum { SLOW_MS = 50, SLOW_BYTES = 64 * 1024, HEAD_BYTES = 4096, SLOW_BOUND = 30 };

static void on_slow_info(HvVm *vm, const HvMigration *migration, const GError *error, gpointer data)
{
    (void)vm;
    Slow *slow = data;
    g_assert_no_error(error);
    slow->asking = false;
    slow->samples += migration->status == HV_MIGRATION_ACTIVE;
    slow->max_seen = MAX(slow->max_seen, migration->throttle);
    slow->throttled = slow->max_seen == SLOW_BOUND;
}

static gboolean read_slowly(gpointer data)
{
    static char chunk[SLOW_BYTES];
    Slow *slow = data;
    ssize_t n = recv(slow->fd, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n > 0 && slow->head->len < HEAD_BYTES)
        g_string_append_len(slow->head, chunk, n);
    if (!slow->asking)
        hv_vm_query_migration(slow->f->vm, on_slow_info, slow);
    slow->asking = true;
    return G_SOURCE_CONTINUE;
}

static void save_slowly(VmFixture *f, Slow *slow, unsigned max_throttle)
{
    g_auto(TestAnswer) answer = {0};
    g_autofree char *path = g_build_filename(f->dir, "slow.sock", NULL);
    HV_AUTO_FD listener = hv_unix_listen(path, NULL);
    hv_vm_set_max_throttle(f->vm, max_throttle);
    hv_vm_save(f->vm, path, 1, test_answer_done, &answer);
    test_answer_ok(&answer);
    *slow = (Slow){.f = f, .head = g_string_new(NULL)};
    slow->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    slow->timer = g_timeout_add(SLOW_MS, read_slowly, slow);
}

static bool asked_enough(gpointer data)
{
    return ((Slow *)data)->samples >= 10;
}

static bool answered(gpointer data)
{
    return !((Slow *)data)->asking;
}

static void cancel_slow(VmFixture *f, Slow *slow)
{
    g_auto(TestAnswer) cancel = {0};
    g_source_remove(slow->timer);
    g_assert_true(test_wait_for(answered, slow, 60));
    hv_vm_save_end(f->vm, test_answer_done, &cancel);
    test_answer_ok(&cancel);
    g_assert_true(test_wait_for(is_cancelled, f, 60));
    test_vm_wait_state(f->vm, HV_RUN_RUNNING);
    hv_close_fd(&slow->fd);
    g_string_free(slow->head, TRUE);
}

// Up to the bound and no further, off again after the save; and the stream names no capability that
// the one who loads would have to have.
static void test_throttle(VmFixture *f, gconstpointer data)
{
    (void)data;
    Slow slow, free;
    g_auto(TestAnswer) limit = {0};
    vm_fixture_launch(f);
    vm_fixture_cont(f);
    save_slowly(f, &slow, SLOW_BOUND);
    hv_vm_save_limit(f->vm, 2, test_answer_done, &limit);
    test_answer_ok(&limit);
    g_assert_true(test_wait(&slow.throttled, 60));
    g_assert_cmpuint(slow.max_seen, ==, SLOW_BOUND);
    g_assert_cmpint(memcmp(slow.head->str, "QEVM\0\0\0\3", 8), ==, 0);
    g_assert_cmpuint(slow.head->len, >, 256);
    g_assert_null(g_strstr_len(slow.head->str, (gssize)slow.head->len, "capabilities"));
    cancel_slow(f, &slow);
    f->events.migration = HV_MIGRATION_NONE;
    save_slowly(f, &free, 0); // QEMU would tell a throttle that is still on
    g_assert_true(test_wait_for(asked_enough, &free, 60));
    g_assert_cmpuint(free.max_seen, ==, 0);
    cancel_slow(f, &free);
}

#define ADD(name, function)                                                                        \
    g_test_add("/save/" name, VmFixture, NULL, vm_fixture_count, function, vm_fixture_clear)

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    ADD("save", test_save);
    ADD("way-back", test_way_back);
    ADD("load", test_load);
    ADD("damaged-image", test_damaged_image);
    ADD("cancel", test_cancel);
    ADD("saver-dies", test_saver_dies);
    ADD("no-saver", test_no_saver);
    g_test_add("/save/throttle", VmFixture, NULL, vm_fixture_write, test_throttle,
               vm_fixture_clear);
    return g_test_run();
}
