// SPDX-License-Identifier: GPL-2.0-or-later
// Integration: the real QEMU runs a guest whose pages follow. What it has in the end is what was
// saved.
#include "hvcore/unix_socket.h"
#include "migrate/return_path.h"
#include "migrate/stream_out.h"
#include "tests/hvcore/isolate.h"
#include "tests/migrate/restore_support.h"

#include <glib-unix.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void save_running_guest(Restore *f)
{
    vm_fixture_launch(&f->vm);
    vm_fixture_cont(&f->vm);
    restore_save(f, &f->area);
    f->lazy = true;
}

static void test_paused(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 1);
    test_vm_wait_state(f->vm.vm, HV_RUN_PAUSED);
    g_assert_true(test_wait(&f->running, 60));
    restore_wait_loaded(f);
    restore_save(f, &f->second);
    restore_compare(f);
}

static void test_running(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 1);
    test_vm_wait_state(f->vm.vm, HV_RUN_PAUSED);
    vm_fixture_cont(&f->vm);
    restore_wait_loaded(f);
    test_vm_wait_state(f->vm.vm, HV_RUN_RUNNING);
}

static void test_wrong_epoch(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 2);
    g_assert_true(test_wait(&f->failed, 60));
    g_assert_error(f->error, FERRY_ERROR, FERRY_ERROR_STATE);
    g_assert_false(f->running);
}

static void load_damaged(Restore *f, uint64_t offset)
{
    area_fixture_flip(&f->area, offset);
    g_autoptr(FerryPager) pager = restore_begin_load(f);
    ferry_pager_load(pager, 1);
    g_assert_true(test_wait(&f->failed, 60));
    g_assert_error(f->error, FERRY_ERROR, FERRY_ERROR_CORRUPT);
    g_assert_false(f->loaded);
}

static void test_damaged_page(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    load_damaged(f, restore_offset_of_a_page(f));
}

static void test_damaged_index(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    load_damaged(f, FERRY_INDEX_OFFSET + 9);
}

static void test_damaged_device(Restore *f, gconstpointer data)
{
    (void)data;
    save_running_guest(f);
    load_damaged(f, FERRY_DEVICE_OFFSET + 9);
    g_assert_false(f->running);
}

// --- a pager that answers until it is told not to ---

typedef struct {
    int fd;
    FerryImageReader *reader;
    FerryStreamOut *out;
    uint8_t *page;
    atomic_bool starves;
    atomic_bool starved; // a request came that was not answered
} Starver;

static uint64_t page_of(const Starver *starver, const FerryReturnMessage *message)
{
    const FerryDescriptor *descriptor = ferry_image_reader_descriptor(starver->reader);
    for (uint32_t i = 0; i < descriptor->n_blocks; i++)
        if (strcmp(descriptor->blocks[i].name, message->block) == 0)
            return descriptor->blocks[i].first_page + message->start / FERRY_PAGE;
    g_error("QEMU asks for a page of \"%s\"", message->block);
}

static void answer(Starver *starver, uint64_t page)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(ferry_stream_out_part(starver->out, &error));
    if (ferry_image_reader_state(starver->reader, page) != FERRY_PAGE_PRESENT) {
        g_assert_true(ferry_stream_out_zero(starver->out, page, &error));
    } else {
        g_assert_true(ferry_image_reader_pages(starver->reader, page, 1, starver->page, &error));
        g_assert_true(ferry_stream_out_page(starver->out, page, starver->page, &error));
    }
    g_assert_true(ferry_stream_out_part_end(starver->out, &error));
}

// Until the connection ends.
static gpointer serve(gpointer data)
{
    Starver *starver = data;
    FerryReturnPath path = {0};
    FerryReturnMessage message;
    uint8_t bytes[FERRY_RETURN_MAX];
    size_t length = 0;
    while (read(starver->fd, bytes + length, 1) == 1) {
        if (ferry_return_path_parse(&path, bytes, ++length, &message, NULL) <= 0)
            continue;
        length = 0;
        if (message.kind == FERRY_RETURN_PAGES && starver->starves)
            starver->starved = true;
        else if (message.kind == FERRY_RETURN_PAGES)
            answer(starver, page_of(starver, &message));
    }
    return NULL;
}

static bool is_starved(gpointer data)
{
    return ((Starver *)data)->starved;
}

static void connect_starver(Starver *starver, const char *socket)
{
    g_autoptr(GError) error = NULL;
    starver->fd = hv_unix_connect(socket, &error);
    g_assert_true(g_unix_set_fd_nonblocking(starver->fd, FALSE, &error));
    starver->page = ferry_buffer_new(FERRY_PAGE);
    starver->out =
        ferry_stream_out_new(starver->fd, ferry_image_reader_descriptor(starver->reader));
    g_assert_true(ferry_stream_out_lazy_head(starver->out, &error));
    g_assert_true(ferry_stream_out_package(starver->out,
                                           ferry_image_reader_tail(starver->reader), &error));
}

static void starver_clear(Starver *starver)
{
    ferry_stream_out_free(starver->out);
    free(starver->page);
    close(starver->fd);
}

// --- the main loop waits for the vCPU, and that one for a page ---

static bool is_answered(gpointer data)
{
    return ((TestAnswer *)data)->called;
}

// The guest runs until it needs a page that does not come. QMP's `stop` then waits for it.
static void starve(Restore *f, Starver *starver, TestAnswer *stop)
{
    test_vm_wait_state(f->vm.vm, HV_RUN_PAUSED);
    starver->starves = true;
    hv_vm_cont(f->vm.vm, NULL, NULL);
    g_assert_true(test_wait_for(is_starved, starver, 60));
    hv_vm_pause(f->vm.vm, test_answer_done, stop);
    g_assert_false(test_wait_for(is_answered, stop, 1));
}

// Then the pager goes away: no monitor can be negotiated any more, the one for this was before.
static void test_main_loop_waits(Restore *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    g_auto(TestAnswer) stop = {0};
    save_running_guest(f);
    g_autofree char *socket = restore_begin_incoming(f);
    g_autoptr(FerryArea) area = ferry_area_open(f->area.path, &error);
    g_autoptr(FerryImageReader) reader = ferry_image_reader_open(area, 1, &error);
    g_assert_no_error(error);
    Starver starver = {.reader = reader};
    connect_starver(&starver, socket);
    GThread *thread = g_thread_new("serve", serve, &starver);
    starve(f, &starver, &stop);
    shutdown(starver.fd, SHUT_RDWR);
    g_thread_join(thread);
    starver_clear(&starver);
    g_autoptr(FerryPager) pager = restore_go_on(f, 0);
    restore_wait_loaded(f);
    g_assert_true(test_wait_for(is_answered, &stop, 60));
    g_assert_no_error(stop.error);
    vm_fixture_cont(&f->vm);
    test_vm_wait_state(f->vm.vm, HV_RUN_RUNNING);
}

#define ADD(name, function)                                                                        \
    g_test_add("/lazy/" name, Restore, NULL, restore_set_up, function, restore_tear_down)

int main(int argc, char **argv)
{
    test_isolate();
    g_test_init(&argc, &argv, NULL);
    ADD("paused", test_paused);
    ADD("running", test_running);
    ADD("main-loop-waits", test_main_loop_waits);
    ADD("wrong-epoch", test_wrong_epoch);
    ADD("damaged-page", test_damaged_page);
    ADD("damaged-index", test_damaged_index);
    ADD("damaged-device", test_damaged_device);
    return g_test_run();
}
