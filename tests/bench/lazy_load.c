// SPDX-License-Identifier: GPL-2.0-or-later
// A Linux guest under TCG is saved, and loaded lazily while it works: how soon it runs, how long
// it waits for pages, how long the whole takes. Fails where its memory is not what it was.
//
//   lazy-load [--memory MIB] [--fill MIB] [--area PATH] [--idle] [--eager] [--kill N]
#include "tests/hvcore/isolate.h"
#include "tests/migrate/restore_support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BRIDGE "vmfbench"
#define GUEST_IP "10.77.0.2"

enum { PORT = 7777, LINE_BYTES = 256, BOOT_SECONDS = 120, REPLY_SECONDS = 300, KILL_MS = 60 };

typedef struct {
    int memory, fill, kill;
    gboolean idle, eager;
    char *area;
} Options;

// --- the guest's line protocol (tests/guest/guest.c) ---

static int try_connect(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    struct timeval limit = {.tv_sec = REPLY_SECONDS};
    inet_pton(AF_INET, GUEST_IP, &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static int guest_connect(void)
{
    gint64 until = g_get_monotonic_time() + BOOT_SECONDS * G_USEC_PER_SEC;
    int fd;
    while ((fd = try_connect()) < 0 && g_get_monotonic_time() < until)
        g_usleep(20000); // it boots; nothing tells when it listens
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void guest_ask(int fd, const char *request, char *reply)
{
    size_t length = 0;
    g_assert_cmpint(write(fd, request, strlen(request)), ==, (ssize_t)strlen(request));
    while (length == 0 || reply[length - 1] != '\n') {
        ssize_t n = read(fd, reply + length, LINE_BYTES - 1 - length);
        if (n <= 0)
            g_error("the guest does not answer \"%s\": %s", request, g_strerror(errno));
        length += (size_t)n;
    }
    reply[length - 1] = '\0';
}

// --- what goes on in the guest while it loads ---

typedef struct {
    int fd;
    const char *request;
    char reply[LINE_BYTES];
    gint64 first_at; // of the first reply
    gint64 slowest;  // microseconds
    atomic_bool *end; // NULL: asks once
} Asker;

static gpointer ask(gpointer data)
{
    Asker *asker = data;
    do {
        gint64 began = g_get_monotonic_time();
        guest_ask(asker->fd, asker->request, asker->reply);
        gint64 now = g_get_monotonic_time();
        asker->first_at = asker->first_at != 0 ? asker->first_at : now;
        asker->slowest = MAX(asker->slowest, now - began);
        g_usleep(1000);
    } while (asker->end != NULL && !*asker->end);
    return NULL;
}

// --- the VM ---

static void run(const char *const *argv)
{
    g_autoptr(GError) error = NULL;
    int status = 0;
    g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                 &status, &error);
    g_assert_no_error(error);
    g_spawn_check_wait_status(status, &error);
    g_assert_no_error(error);
}

static void make_bridge(void)
{
    run((const char *[]){"ip", "link", "add", BRIDGE, "type", "bridge", NULL});
    run((const char *[]){"ip", "address", "add", "10.77.0.1/24", "dev", BRIDGE, NULL});
    run((const char *[]){"ip", "link", "set", BRIDGE, "up", NULL});
}

static HvDefinition *define(int memory)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf(
        "{\"name\":\"web1\",\"uuid\":\"3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60\",\"memory_mib\":%d,"
        "\"machine\":\"pc-q35-7.2\",\"state_area\":\"/shared/web1.state\","
        "\"nics\":[{\"bridge\":\"" BRIDGE "\"}],"
        "\"boot\":{\"kernel\":\"%s/vmlinuz\",\"initrd\":\"%s/initrd.img\","
        "\"cmdline\":\"console=ttyS0 quiet guest.ip=" GUEST_IP "/24\"}}",
        memory, GUEST_DIR, GUEST_DIR);
    HvDefinition *definition = hv_definition_parse(text, &error);
    g_assert_no_error(error);
    return definition;
}

static void set_up(Restore *f, const Options *options)
{
    uint64_t memory = (uint64_t)options->memory;
    run((const char *[]){BUILD_GUEST, GUEST_DIR, NULL});
    make_bridge();
    f->vm.dir = test_dir_new();
    f->vm.run_dir = g_build_filename(f->vm.dir, "run", NULL);
    f->vm.node = test_node();
    f->vm.definition = define(options->memory);
    f->vm.vm =
        hv_vm_new(f->vm.definition, f->vm.node, f->vm.run_dir, &test_events, &f->vm.events);
    area_fixture_file(&f->area, 0);
    area_fixture_file(&f->second, 0);
    if (options->area != NULL) {
        g_free(f->area.path);
        f->area.path = g_strdup(options->area);
    }
    area_fixture_saving(&f->area, memory);
    area_fixture_saving(&f->second, memory);
    f->lazy = !options->eager;
}

static void boot_and_fill(Restore *f, int fill, char *sum)
{
    char reply[LINE_BYTES];
    g_autofree char *request = g_strdup_printf("fill %d\n", fill);
    vm_fixture_launch(&f->vm);
    vm_fixture_cont(&f->vm);
    int fd = guest_connect();
    guest_ask(fd, request, reply);
    g_assert_cmpstr(reply, ==, "ok");
    guest_ask(fd, "sum\n", sum);
    guest_ask(fd, "gap\n", reply);
    close(fd);
}

// --- the measurement ---

static double ms(gint64 from, gint64 to)
{
    return (double)(to - from) / 1000;
}

typedef struct {
    gint64 saving, saved; // from the command to QEMU until the image is sealed
    gint64 began, paused, cont;
    Asker count, sum, gap;
} Times;

static void print_times(const Restore *f, const Times *times)
{
    const FerryPagerProgress *loads = &f->loads;
    gint64 began = times->began;
    double mib = (double)loads->bytes_total / (1024 * 1024);
    double saved_mib = (double)f->saved.bytes_written / (1024 * 1024);
    printf("saved                  %8.1f ms, %.0f MiB, %.0f MiB/s\n",
           ms(times->saving, times->saved), saved_mib,
           saved_mib * 1000 / ms(times->saving, times->saved));
    if (f->lazy)
        printf("device state sent      %8.1f ms\n", ms(began, f->running_at));
    printf("QEMU ready (paused)    %8.1f ms\n", ms(began, times->paused));
    printf("guest runs             %8.1f ms\n", ms(began, times->cont));
    printf("guest's first reply    %8.1f ms\n", ms(began, times->count.first_at));
    printf("sum of its memory      %8.1f ms\n", ms(began, times->sum.first_at));
    printf("all loaded             %8.1f ms, %.0f MiB, %.0f MiB/s\n", ms(began, f->loaded_at), mib,
           mib * 1000 / ms(began, f->loaded_at));
    printf("slowest reply          %8.1f ms\n", (double)times->count.slowest / 1000);
    printf("faults                 %8" G_GUINT64_FORMAT "\n", loads->faults);
    printf("fault p50 / p99 / max  %8.2f / %.2f / %.2f ms\n", (double)loads->fault_p50_us / 1000,
           (double)loads->fault_p99_us / 1000, (double)loads->fault_max_us / 1000);
    printf("guest's longest gap    %s\n", times->gap.reply);
}

typedef struct {
    Restore *f;
    bool late;
} Killing;

static bool is_loaded_or_late(gpointer data)
{
    const Killing *killing = data;
    return killing->f->loaded || killing->late;
}

static gboolean on_late(gpointer data)
{
    ((Killing *)data)->late = true;
    return G_SOURCE_REMOVE;
}

// Lets PAGER work for a while, then another one goes on.
static FerryPager *kill_pagers(Restore *f, FerryPager *pager, int times)
{
    int killed = 0;
    for (; killed < times && !f->loaded; killed++) {
        Killing killing = {f, false};
        guint timer = g_timeout_add((guint)g_random_int_range(1, KILL_MS), on_late, &killing);
        test_wait_for(is_loaded_or_late, &killing, REPLY_SECONDS);
        if (!killing.late)
            g_source_remove(timer);
        else if (!f->loaded)
            pager = restore_kill_pager(f, pager, (unsigned)killed);
    }
    if (times > 0)
        printf("pagers killed          %8d\n", killed);
    return pager;
}

static void load(Restore *f, const Options *options, const char *sum)
{
    atomic_bool end = false;
    Times times = {.count = {.fd = guest_connect(), .request = "c\n", .end = &end},
                   .sum = {.fd = guest_connect(), .request = "sum\n"},
                   .gap = {.request = "gap\n"}};
    times.saving = g_get_monotonic_time();
    restore_save(f, &f->area);
    times.saved = g_get_monotonic_time();
    FerryPager *pager = restore_begin_load(f);
    times.began = g_get_monotonic_time();
    ferry_pager_load(pager, 1);
    test_vm_wait_state(f->vm.vm, HV_RUN_PAUSED);
    times.paused = g_get_monotonic_time();
    vm_fixture_cont(&f->vm);
    times.cont = g_get_monotonic_time();
    GThread *counting = g_thread_new("count", ask, &times.count);
    GThread *summing = options->idle ? NULL : g_thread_new("sum", ask, &times.sum);
    pager = kill_pagers(f, pager, options->kill);
    g_assert_true(test_wait(&f->loaded, REPLY_SECONDS));
    g_assert_no_error(f->error);
    end = true;
    g_thread_join(counting);
    if (summing != NULL)
        g_thread_join(summing);
    else
        ask(&times.sum);
    times.gap.fd = times.sum.fd;
    ask(&times.gap);
    print_times(f, &times);
    g_assert_cmpstr(times.sum.reply, ==, sum);
    close(times.count.fd);
    close(times.sum.fd);
    ferry_pager_free(pager);
}

int main(int argc, char **argv)
{
    Options options = {.memory = 512, .fill = 200};
    GOptionEntry entries[] = {
        {"memory", 0, 0, G_OPTION_ARG_INT, &options.memory, "of the guest (512)", "MIB"},
        {"fill", 0, 0, G_OPTION_ARG_INT, &options.fill, "that the guest fills (200)", "MIB"},
        {"area", 0, 0, G_OPTION_ARG_FILENAME, &options.area, "state area, is overwritten", "PATH"},
        {"idle", 0, 0, G_OPTION_ARG_NONE, &options.idle, "the guest only counts", NULL},
        {"kill", 0, 0, G_OPTION_ARG_INT, &options.kill, "the pager, up to so many times", "N"},
        {"eager", 0, 0, G_OPTION_ARG_NONE, &options.eager, "for comparison", NULL},
        {0},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- measures a lazy restore");
    test_isolate();
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error))
        g_error("%s", error->message);
    Restore f = {0};
    char sum[LINE_BYTES];
    set_up(&f, &options);
    boot_and_fill(&f, options.fill, sum);
    load(&f, &options, sum);
    restore_tear_down(&f, NULL);
    g_free(options.area);
    return 0;
}
