// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-pager: a state area's image into QEMU's incoming socket. Started by vmferryd
// (migrate/pager.h); takes one command on standard input, {"cmd":"load","epoch":N}, and reports on
// standard output, one JSON object a line. With --lazy it outlives the agent from that command on:
// the guest depends on it.
#include "migrate/load_eager.h"
#include "migrate/load_lazy.h"
#include "migrate/program.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
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

static int connect_to_qemu(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bool fits = g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) <
                sizeof(address.sun_path);
    errno = ENAMETOOLONG;
    int fd = fits ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_CHILD, "QEMU's incoming socket %s: %s", path,
                g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
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

static bool load_lazy(FerryArea *area, int fd, uint64_t epoch, GError **error)
{
    static const FerryLazyEvents events = {on_running, on_lazy_progress};
    signal(SIGPIPE, SIG_IGN);
    g_autoptr(FerryImageReader) reader = ferry_image_reader_open_lazy(area, epoch, error);
    if (reader == NULL)
        return false;
    Told told = {.reader = reader};
    FerryFaultStats stats;
    if (!ferry_load_lazy(reader, fd, &events, &told, &stats, error))
        return false;
    ferry_program_try_event(loaded_event(&told, &stats));
    return true;
}

// --- wiring ---

static bool load(const char *path, int fd, bool lazy, GError **error)
{
    uint64_t epoch;
    if (!read_command(&epoch, error))
        return false;
    g_autoptr(FerryArea) area = ferry_area_open(path, error);
    return area != NULL && (lazy ? load_lazy : load_eager)(area, fd, epoch, error);
}

static int run(const char *area, const char *path, bool lazy)
{
    g_autoptr(GError) error = NULL;
    int fd = connect_to_qemu(path, &error);
    if (fd < 0)
        return ferry_program_failed(error);
    ferry_program_event(json_pack("{s:s}", "event", "connected"));
    int code = load(area, fd, lazy, &error) ? 0 : ferry_program_failed(error);
    close(fd);
    return code;
}

int main(int argc, char **argv)
{
    g_autofree char *area = NULL, *path = NULL;
    gboolean lazy = FALSE;
    GOptionEntry entries[] = {
        {"area", 0, 0, G_OPTION_ARG_FILENAME, &area, "state area to read", "PATH"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &path, "QEMU's incoming socket", "PATH"},
        {"lazy", 0, 0, G_OPTION_ARG_NONE, &lazy, "let the guest run while its pages follow", NULL},
        {0},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- restores a VM for vmferryd");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || area == NULL || path == NULL) {
        fprintf(stderr, "vmferry-pager: %s\n",
                error != NULL ? error->message : "--area and --socket are needed");
        return 2;
    }
    return run(area, path, lazy);
}
