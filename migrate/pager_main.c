// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-pager: a state area's image into QEMU's incoming socket. Started by vmferryd
// (migrate/pager.h); takes one command on standard input, {"cmd":"load","epoch":N}, and reports on
// standard output, one JSON object a line.
#include "migrate/load_eager.h"
#include "migrate/program.h"

#include <errno.h>
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

static void tell(const Told *told, const char *event)
{
    ferry_program_event(json_pack("{s:s, s:I, s:I, s:I}", "event", event, "bytes_read",
                                  (json_int_t)ferry_image_reader_bytes(told->reader), "bytes_sent",
                                  (json_int_t)told->state.bytes_sent, "bytes_total",
                                  (json_int_t)told->state.bytes_total));
}

static void on_progress(const FerryLoadProgress *progress, void *env)
{
    Told *told = env;
    gint64 now = g_get_monotonic_time();
    told->state = *progress;
    if (now - told->told_at < PROGRESS_US)
        return;
    told->told_at = now;
    tell(told, "progress");
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

static bool load(const char *path, int fd, GError **error)
{
    uint64_t epoch;
    if (!read_command(&epoch, error))
        return false;
    ferry_program_end_with_agent();
    g_autoptr(FerryArea) area = ferry_area_open(path, error);
    if (area == NULL)
        return false;
    g_autoptr(FerryImageReader) reader = ferry_image_reader_open(area, epoch, error);
    if (reader == NULL)
        return false;
    Told told = {.reader = reader, .told_at = g_get_monotonic_time()};
    if (!ferry_load_eager(reader, fd, on_progress, &told, error))
        return false;
    tell(&told, "loaded");
    return true;
}

static int run(const char *area, const char *path)
{
    g_autoptr(GError) error = NULL;
    int fd = connect_to_qemu(path, &error);
    if (fd < 0)
        return ferry_program_failed(error);
    ferry_program_event(json_pack("{s:s}", "event", "connected"));
    int code = load(area, fd, &error) ? 0 : ferry_program_failed(error);
    close(fd);
    return code;
}

int main(int argc, char **argv)
{
    g_autofree char *area = NULL, *path = NULL;
    GOptionEntry entries[] = {
        {"area", 0, 0, G_OPTION_ARG_FILENAME, &area, "state area to read", "PATH"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &path, "QEMU's incoming socket", "PATH"},
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
    return run(area, path);
}
