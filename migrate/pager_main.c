// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-pager: a state area's image into QEMU's incoming socket. Started by vmferryd
// (migrate/pager.h); takes commands on standard input and reports on standard output, one JSON object
// a line: {"cmd":"preload","epoch":N} reads along while that image is still being saved,
// {"cmd":"load","epoch":N} loads it once it is sealed, {"cmd":"hurry"} has the rest of it come
// faster. With --lazy it outlives the agent from the load on: the guest depends on it. With
// --recover it loads without a command.
#include "hvcore/unix_socket.h"
#include "migrate/load_eager.h"
#include "migrate/load_lazy.h"
#include "migrate/program.h"

#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROGRESS_US = 200 * 1000 };

typedef struct {
    char *area, *socket;
    gboolean lazy, linear;
    char *huge_block;
    gint64 recover; // the epoch, 0 = no
} Options;

typedef struct {
    FerryImageReader *reader;
    FerryLoadProgress state;
    gint64 told_at;
    uint64_t bytes_ahead; // read before the image was sealed
} Told;

static json_t *told_event(const Told *told, const char *event)
{
    return json_pack("{s:s, s:I, s:I, s:I}", "event", event, "bytes_read",
                     (json_int_t)(ferry_image_reader_bytes(told->reader) + told->bytes_ahead),
                     "bytes_sent",
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

// --- commands ---

// Blocks; the end of standard input ends the process: the agent is gone.
static json_t *wait_for_command(FerryCommands *commands, GError **error)
{
    json_t *command;
    g_autoptr(GError) wrong = NULL;
    while ((command = ferry_commands_next(commands, &wrong)) == NULL && wrong == NULL) {
        struct pollfd input = {.fd = ferry_commands_fd(commands), .events = POLLIN};
        if (ferry_commands_ended(commands))
            exit(1);
        poll(&input, 1, -1);
    }
    if (wrong != NULL)
        g_propagate_error(error, g_steal_pointer(&wrong));
    return command;
}

// The epoch of the next command, which has to be NAME, or OTHER if that is not NULL.
static bool next_command(FerryCommands *commands, const char *name, const char *other,
                         bool *is_other, uint64_t *epoch, GError **error)
{
    json_t *command = wait_for_command(commands, error);
    if (command == NULL)
        return false;
    const char *given = json_string_value(json_object_get(command, "cmd"));
    json_int_t value = json_integer_value(json_object_get(command, "epoch"));
    *is_other = g_strcmp0(given, other) == 0;
    *epoch = (uint64_t)value;
    bool fine = (*is_other || strcmp(given, name) == 0) && value > 0;
    if (!fine)
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CHILD,
                    "command \"%s\" with epoch %" G_GINT64_FORMAT " does not fit here", given,
                    (gint64)value);
    json_decref(command);
    return fine;
}

static bool load_eager(FerryArea *area, int fd, FerryCommands *commands, GError **error)
{
    uint64_t epoch;
    bool other;
    if (!next_command(commands, "load", NULL, &other, &epoch, error))
        return false;
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
    json_object_set_new(event, "bytes_ahead", json_integer((json_int_t)told->bytes_ahead));
    json_object_set_new(event, "faults", json_integer((json_int_t)stats->faults));
    json_object_set_new(event, "fault_p50_us", json_integer((json_int_t)stats->p50_us));
    json_object_set_new(event, "fault_p99_us", json_integer((json_int_t)stats->p99_us));
    json_object_set_new(event, "fault_p999_us", json_integer((json_int_t)stats->p999_us));
    json_object_set_new(event, "fault_max_us", json_integer((json_int_t)stats->max_us));
    return event;
}

static bool set_huge(const Options *options, FerryImageReader *reader, GError **error)
{
    return options->huge_block == NULL ||
           ferry_image_reader_set_huge(reader, options->huge_block, error);
}

typedef bool (*LazyFn)(const FerryLazyLoad *load, const FerryLazyEvents *events, void *env,
                       FerryFaultStats *stats, GError **error);

static bool load_lazy_with(LazyFn load_it, const FerryLazyLoad *load, GError **error)
{
    static const FerryLazyEvents events = {on_running, on_lazy_progress};
    FerryFaultStats stats;
    Told told = {.reader = load->reader};
    if (load->ahead != NULL)
        told.bytes_ahead = ferry_load_ahead_bytes(load->ahead);
    if (!load_it(load, &events, &told, &stats, error))
        return false;
    ferry_program_try_event(loaded_event(&told, &stats));
    return true;
}

static void tell_ahead(uint64_t bytes)
{
    ferry_program_event(json_pack("{s:s, s:I}", "event", "ahead", "bytes", (json_int_t)bytes));
}

// Reads along until the image is sealed, if it is told to. Not into huge pages: one that QEMU has a
// part of would count as whole.
static bool load_ahead(const Options *options, FerryArea *area, FerryLazyLoad *load,
                       uint64_t *epoch, GError **error)
{
    bool ahead, other;
    if (!next_command(load->commands, "load", "preload", &ahead, epoch, error))
        return false;
    if (!ahead)
        return true;
    load->ahead = ferry_load_ahead_new(area, load->reads, load->fd, *epoch);
    return (options->linear || options->huge_block != NULL ||
            ferry_load_ahead_run(load->ahead, load->commands, tell_ahead, error)) &&
           next_command(load->commands, "load", NULL, &other, epoch, error);
}

static bool load_lazy(const Options *options, FerryArea *area, FerryLazyLoad *load, GError **error)
{
    uint64_t epoch;
    signal(SIGPIPE, SIG_IGN);
    g_autoptr(FerryReads) reads = ferry_reads_new(area);
    load->reads = reads;
    g_autoptr(FerryImageReader) reader = NULL;
    if (load_ahead(options, area, load, &epoch, error))
        reader = ferry_image_reader_open_lazy(area, epoch, error);
    load->reader = reader;
    bool fine = reader != NULL && set_huge(options, reader, error) &&
                load_lazy_with(ferry_load_lazy, load, error);
    ferry_load_ahead_free(load->ahead);
    return fine;
}

// --- wiring ---

static int connected(const Options *options, GError **error)
{
    int fd = hv_unix_connect(options->socket, error);
    if (fd < 0 || !g_unix_set_fd_nonblocking(fd, FALSE, error))
        return -1;
    ferry_program_event(json_pack("{s:s}", "event", "connected"));
    return fd;
}

static bool load(const Options *options, FerryCommands *commands, GError **error)
{
    FerryLazyLoad lazily = {.commands = commands, .linear = options->linear};
    lazily.fd = connected(options, error);
    if (lazily.fd < 0)
        return false;
    g_autoptr(FerryArea) area = ferry_area_open(options->area, error);
    bool fine = area != NULL && (options->lazy ? load_lazy(options, area, &lazily, error)
                                               : load_eager(area, lazily.fd, commands, error));
    close(lazily.fd);
    return fine;
}

// Opens the image first: a QEMU before 8.2 crashes when its pager dies between connecting and the
// command to go on, so that this time has to be short.
static bool recover(const Options *options, FerryCommands *commands, GError **error)
{
    signal(SIGPIPE, SIG_IGN);
    g_autoptr(FerryArea) area = ferry_area_open(options->area, error);
    if (area == NULL)
        return false;
    g_autoptr(FerryReads) reads = ferry_reads_new(area);
    g_autoptr(FerryImageReader) reader =
        ferry_image_reader_open_again(area, (uint64_t)options->recover, error);
    FerryLazyLoad lazily = {.reader = reader, .reads = reads, .commands = commands};
    lazily.fd = reader != NULL && set_huge(options, reader, error) ? connected(options, error) : -1;
    if (lazily.fd < 0)
        return false;
    bool fine = load_lazy_with(ferry_load_lazy_again, &lazily, error);
    close(lazily.fd);
    return fine;
}

static int run(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FerryCommands) commands = ferry_commands_new(STDIN_FILENO);
    bool fine = options->recover > 0 ? recover(options, commands, &error)
                                     : load(options, commands, &error);
    return fine ? 0 : ferry_program_failed(error);
}

static bool parse(int argc, char **argv, Options *options)
{
    GOptionEntry entries[] = {
        {"area", 0, 0, G_OPTION_ARG_FILENAME, &options->area, "state area to read", "PATH"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &options->socket, "QEMU's incoming socket", "PATH"},
        {"lazy", 0, 0, G_OPTION_ARG_NONE, &options->lazy,
         "let the guest run while its pages follow", NULL},
        {"huge-block", 0, 0, G_OPTION_ARG_STRING, &options->huge_block,
         "RAM block that QEMU has in huge pages of 2 MiB", "NAME"},
        {"linear", 0, 0, G_OPTION_ARG_NONE, &options->linear,
         "send pages in order, whatever the guest does; to compare with", NULL},
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
    g_free(options.huge_block);
    return code;
}
