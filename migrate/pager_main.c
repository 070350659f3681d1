// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-pager: a state area's image into QEMU's incoming socket. Started by vmferryd
// (migrate/pager.h); takes one command on standard input, {"cmd":"load","epoch":N}, and reports on
// standard output, one JSON object a line. With --lazy it outlives the agent from that command on:
// the guest depends on it. With --recover it takes no command.
#include "hvcore/unix_socket.h"
#include "migrate/load_eager.h"
#include "migrate/load_lazy.h"
#include "migrate/program.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROGRESS_US = 200 * 1000, COMMAND_MAX = 4096 };

typedef struct {
    FerryImageReader *reader;
    FerryLoadProgress state;
    gint64 told_at;
} Told;

static json_t *told_event(const Told *told, const char *event)
{
    return json_pack("{s:s, s:I, s:I, s:I}", "event", event, "bytes_read",
                     (json_int_t)ferry_image_reader_bytes(told->reader), "bytes_sent",
                     (json_int_t)told->state.bytes_sent, "bytes_total",
                     (json_int_t)told->state.bytes_total);
}

static void on_progress(const FerryLoadProgress *progress, void *env)
{
    Told *told = env;
    gint64 now = g_get_monotonic_time();
    told->state = *progress;
    if (now - told->told_at < PROGRESS_US)
        return;
    told->told_at = now;
    ferry_program_event(told_event(told, "progress"));
}

// Waits for the command; the end of standard input ends the process: the agent is gone.
static bool read_command(uint64_t *epoch, GError **error)
{
    char line[COMMAND_MAX];
    if (fgets(line, sizeof(line), stdin) == NULL)
        exit(1);
    json_int_t value = 0;
    const char *command = NULL;
    json_t *root = json_loads(line, 0, NULL);
    bool fine = root != NULL &&
                json_unpack(root, "{s:s, s:I}", "cmd", &command, "epoch", &value) == 0 &&
                strcmp(command, "load") == 0 && value > 0;
    if (!fine)
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CHILD, "command not understood: %s", line);
    *epoch = (uint64_t)value;
    json_decref(root);
    return fine;
}

static bool load_eager(FerryArea *area, int fd, uint64_t epoch, GError **error)
{
    ferry_program_end_with_agent();
    g_autoptr(FerryImageReader) reader = ferry_image_reader_open(area, epoch, error);
    if (reader == NULL)
        return false;
    Told told = {.reader = reader, .told_at = g_get_monotonic_time()};
    if (!ferry_load_eager(reader, fd, on_progress, &told, error))
        return false;
    ferry_program_event(told_event(&told, "loaded"));
    return true;
}

// --- lazy ---

static void on_running(void *env)
{
    ferry_program_try_event(told_event(env, "running"));
}

static void on_lazy_progress(const FerryLoadProgress *progress, void *env)
{
    Told *told = env;
    told->state = *progress;
    ferry_program_try_event(told_event(told, "progress"));
}

static json_t *loaded_event(const Told *told, const FerryFaultStats *stats)
{
    json_t *event = told_event(told, "loaded");
    json_object_set_new(event, "faults", json_integer((json_int_t)stats->faults));
    json_object_set_new(event, "fault_p50_us", json_integer((json_int_t)stats->p50_us));
    json_object_set_new(event, "fault_p99_us", json_integer((json_int_t)stats->p99_us));
    json_object_set_new(event, "fault_max_us", json_integer((json_int_t)stats->max_us));
    return event;
}

typedef bool (*LazyFn)(FerryImageReader *reader, int fd, const FerryLazyEvents *events, void *env,
                       FerryFaultStats *stats, GError **error);

static bool load_lazy_with(LazyFn load_it, FerryImageReader *reader, int fd, GError **error)
{
    static const FerryLazyEvents events = {on_running, on_lazy_progress};
    Told told = {.reader = reader};
    FerryFaultStats stats;
    if (!load_it(reader, fd, &events, &told, &stats, error))
        return false;
    ferry_program_try_event(loaded_event(&told, &stats));
    return true;
}

static bool load_lazy(FerryArea *area, int fd, uint64_t epoch, GError **error)
{
    signal(SIGPIPE, SIG_IGN);
    g_autoptr(FerryImageReader) reader = ferry_image_reader_open_lazy(area, epoch, error);
    return reader != NULL && load_lazy_with(ferry_load_lazy, reader, fd, error);
}

// --- wiring ---

typedef struct {
    char *area, *socket;
    gboolean lazy;
    gint64 recover; // the epoch, 0 = no
} Options;

static int connected(const Options *options, GError **error)
{
    int fd = hv_unix_connect(options->socket, error);
    if (fd < 0 || !g_unix_set_fd_nonblocking(fd, FALSE, error))
        return -1;
    ferry_program_event(json_pack("{s:s}", "event", "connected"));
    return fd;
}

static bool load(const Options *options, GError **error)
{
    uint64_t epoch;
    int fd = connected(options, error);
    if (fd < 0 || !read_command(&epoch, error))
        return false;
    g_autoptr(FerryArea) area = ferry_area_open(options->area, error);
    bool fine = area != NULL &&
                (options->lazy ? load_lazy : load_eager)(area, fd, epoch, error);
    close(fd);
    return fine;
}

// Opens the image first: a QEMU before 8.2 crashes when its pager dies between connecting and the
// command to go on, so that this time has to be short.
static bool recover(const Options *options, GError **error)
{
    signal(SIGPIPE, SIG_IGN);
    g_autoptr(FerryArea) area = ferry_area_open(options->area, error);
    if (area == NULL)
        return false;
    g_autoptr(FerryImageReader) reader =
        ferry_image_reader_open_again(area, (uint64_t)options->recover, error);
    int fd = reader != NULL ? connected(options, error) : -1;
    if (fd < 0)
        return false;
    bool fine = load_lazy_with(ferry_load_lazy_again, reader, fd, error);
    close(fd);
    return fine;
}

static int run(const Options *options)
{
    g_autoptr(GError) error = NULL;
    bool fine = options->recover > 0 ? recover(options, &error) : load(options, &error);
    return fine ? 0 : ferry_program_failed(error);
}

static bool parse(int argc, char **argv, Options *options)
{
    GOptionEntry entries[] = {
        {"area", 0, 0, G_OPTION_ARG_FILENAME, &options->area, "state area to read", "PATH"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &options->socket, "QEMU's incoming socket", "PATH"},
        {"lazy", 0, 0, G_OPTION_ARG_NONE, &options->lazy,
         "let the guest run while its pages follow", NULL},
        {"recover", 0, 0, G_OPTION_ARG_INT64, &options->recover,
         "go on with a lazy load of that image, which was cut", "EPOCH"},
        {0},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- restores a VM for vmferryd");
    g_option_context_add_main_entries(context, entries, NULL);
    bool fine = g_option_context_parse(context, &argc, &argv, &error) && options->area != NULL &&
                options->socket != NULL && options->recover >= 0;
    if (!fine)
        fprintf(stderr, "vmferry-pager: %s\n",
                error != NULL ? error->message : "--area and --socket are needed");
    return fine;
}

int main(int argc, char **argv)
{
    Options options = {0};
    int code = parse(argc, argv, &options) ? run(&options) : 2;
    g_free(options.area);
    g_free(options.socket);
    return code;
}
