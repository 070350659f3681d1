// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-saver: QEMU's outgoing migration stream into a state area. Started by vmferryd
// (migrate/saver.h); reports on standard output, one JSON object a line.
#include "hvcore/unix_socket.h"
#include "migrate/commands.h"
#include "migrate/image_writer.h"
#include "migrate/leash.h"
#include "migrate/program.h"
#include "migrate/stream_in.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NICE = 5, PROGRESS_US = 200 * 1000, PAGES_BETWEEN_LOOKS = 512 };

// Pages before the end of the first pass. QEMU's socket holds the headers of some 28,000 zero
// pages: it may have sent all of them, and pause the guest, when so many are left here.
enum { FIRST_GATHER = 32768, LAST_GATHER = 256 };

typedef struct {
    char *area, *socket;
    gint64 epoch;
} Options;

typedef struct {
    int fd;
    uint64_t stream_bytes;
    FerryImageWriter *writer;
    FerryImage image;
    FerryLeash *leash;
    gint64 told_at;
    unsigned pages; // since the last look at clock and leash
    uint64_t total_pages;
    uint64_t gather_at; // so many pages before the first pass's end the target is waited for
} Saver;

// --- what is told ---

static json_t *counts_as_json(const Saver *saver, const char *event)
{
    FerryImageCounts counts;
    ferry_image_writer_counts(saver->writer, &counts);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "event", event, "bytes_written",
                     (json_int_t)counts.bytes_written, "bytes_pending",
                     (json_int_t)counts.bytes_pending, "stream_bytes",
                     (json_int_t)saver->stream_bytes, "pages_present", (json_int_t)counts.present,
                     "pages_zero", (json_int_t)counts.zero, "passes", (json_int_t)counts.passes,
                     "ram_bytes", (json_int_t)counts.ram_bytes);
}

static void wait_for_target(const Saver *saver, bool last)
{
    FerryImageCounts counts;
    ferry_image_writer_counts(saver->writer, &counts);
    if (counts.passes == 1)
        ferry_leash_wait(saver->leash, ferry_leash_bytes(counts.present, counts.zero), last);
}

// QEMU may pause the guest as soon as it has sent the last page of the first pass: the target is
// let come up while there are pages left, and again with half of them.
static bool gather(Saver *saver, uint64_t page, GError **error)
{
    uint64_t left = saver->total_pages - page;
    if (left > saver->gather_at || saver->gather_at < LAST_GATHER)
        return true;
    while (saver->gather_at >= LAST_GATHER && left <= saver->gather_at)
        saver->gather_at /= 2;
    if (!ferry_image_writer_publish(saver->writer, error))
        return false;
    wait_for_target(saver, true);
    return true;
}

static void tell_progress(Saver *saver)
{
    if (++saver->pages < PAGES_BETWEEN_LOOKS)
        return;
    saver->pages = 0;
    wait_for_target(saver, false);
    gint64 now = g_get_monotonic_time();
    if (now - saver->told_at < PROGRESS_US)
        return;
    saver->told_at = now;
    ferry_program_event(counts_as_json(saver, "progress"));
}

static void tell_flushed(const Saver *saver)
{
    const FerryImage *image = &saver->image;
    json_t *event = counts_as_json(saver, "flushed");
    json_object_set_new(event, "descriptor_offset",
                        json_integer((json_int_t)image->descriptor_offset));
    json_object_set_new(event, "descriptor_length", json_integer(image->descriptor_length));
    json_object_set_new(event, "descriptor_crc32c", json_integer(image->descriptor_crc32c));
    ferry_program_event(event);
}

// --- the stream's parts ---

static bool on_config(void *env, const uint8_t *bytes, size_t length, GError **error)
{
    return ferry_image_writer_config(((Saver *)env)->writer, bytes, length, error);
}

static bool on_blocks(void *env, const FerryBlock *blocks, uint32_t n_blocks, uint64_t total_pages,
                      GError **error)
{
    Saver *saver = env;
    saver->total_pages = total_pages;
    return ferry_image_writer_blocks(saver->writer, blocks, n_blocks, total_pages, error);
}

static bool on_zero(void *env, uint64_t page, GError **error)
{
    Saver *saver = env;
    tell_progress(saver);
    return gather(saver, page, error) && ferry_image_writer_zero(saver->writer, page, error);
}

static bool on_page(void *env, uint64_t page, const uint8_t *bytes, GError **error)
{
    Saver *saver = env;
    tell_progress(saver);
    return gather(saver, page, error) && ferry_image_writer_page(saver->writer, page, bytes, error);
}

static bool on_ram_end(void *env, GError **error)
{
    return ferry_image_writer_ram_end(((Saver *)env)->writer, error);
}

static bool on_tail(void *env, const uint8_t *bytes, size_t length, size_t device_length,
                    GError **error)
{
    Saver *saver = env;
    return ferry_image_writer_finish(saver->writer, bytes, length, device_length, &saver->image,
                                     error);
}

static const FerryStreamEvents stream_events = {
    .config = on_config,
    .blocks = on_blocks,
    .zero = on_zero,
    .page = on_page,
    .ram_end = on_ram_end,
    .tail = on_tail,
};

// --- the socket ---

static ssize_t read_stream(void *env, void *buffer, size_t bytes)
{
    Saver *saver = env;
    ssize_t n = read(saver->fd, buffer, bytes);
    saver->stream_bytes += n > 0 ? (uint64_t)n : 0;
    return n;
}

// Waits for QEMU; returns the connection or -1.
static int accept_one(const char *path, GError **error)
{
    umask(077);
    int listener = hv_unix_listen(path, error);
    if (listener < 0)
        return -1;
    ferry_program_event(json_pack("{s:s}", "event", "listening"));
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CHILD, "socket %s: accepting: %s", path,
                    g_strerror(errno));
    close(listener);
    unlink(path);
    return fd;
}

static bool read_saving(FerryArea *area, uint64_t epoch, FerryRecord *record, GError **error)
{
    if (!ferry_area_read_record(area, record, error))
        return false;
    if (record->state == FERRY_SAVING && record->epoch == epoch)
        return true;
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_STATE,
                "%s is %s with epoch %" G_GUINT64_FORMAT ", not saving with epoch "
                "%" G_GUINT64_FORMAT ": nothing was written",
                ferry_area_path(area), ferry_state_name(record->state), record->epoch, epoch);
    return false;
}

// Its end is the agent's.
static gpointer obey(gpointer data)
{
    FerryLeash *leash = data;
    g_autoptr(FerryCommands) commands = ferry_commands_new(STDIN_FILENO);
    while (!ferry_commands_ended(commands)) {
        g_autoptr(GError) error = NULL;
        struct pollfd input = {.fd = ferry_commands_fd(commands), .events = POLLIN};
        json_t *command = ferry_commands_next(commands, &error);
        const char *name = json_string_value(json_object_get(command, "cmd"));
        if (g_strcmp0(name, "ahead") == 0)
            ferry_leash_ahead(leash,
                              (uint64_t)json_integer_value(json_object_get(command, "bytes")));
        else if (g_strcmp0(name, "paused") == 0)
            ferry_leash_cut(leash);
        if (command == NULL)
            poll(&input, 1, -1);
        json_decref(command);
    }
    _exit(1);
}

static bool save(const Options *options, FerryLeash *leash, GError **error)
{
    g_autoptr(FerryArea) area = ferry_area_open(options->area, error);
    if (area == NULL)
        return false;
    FerryRecord record;
    if (!read_saving(area, (uint64_t)options->epoch, &record, error))
        return false;
    g_autoptr(FerryImageWriter) writer =
        ferry_image_writer_new(area, record.epoch, record.sequence);
    Saver saver = {.writer = writer,
                   .leash = leash,
                   .gather_at = FIRST_GATHER,
                   .told_at = g_get_monotonic_time()};
    saver.fd = accept_one(options->socket, error);
    if (saver.fd < 0)
        return false;
    bool saved = ferry_stream_read(read_stream, &saver, &stream_events, &saver, error);
    close(saver.fd);
    if (saved)
        tell_flushed(&saver);
    return saved;
}

int main(int argc, char **argv)
{
    Options options = {0};
    GOptionEntry entries[] = {
        {"area", 0, 0, G_OPTION_ARG_FILENAME, &options.area, "state area to write", "PATH"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &options.socket, "where QEMU connects", "PATH"},
        {"epoch", 0, 0, G_OPTION_ARG_INT64, &options.epoch, "epoch of the record", "N"},
        {0},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- saves a VM for vmferryd");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || options.area == NULL ||
        options.socket == NULL || options.epoch <= 0) {
        fprintf(stderr, "vmferry-saver: %s\n",
                error != NULL ? error->message : "--area, --socket and --epoch are needed");
        return 2;
    }
    // The guest goes first, in I/O too where the scheduler derives its priority from this. A thread
    // inherits it from the one that makes it, so it is set before there are others.
    setpriority(PRIO_PROCESS, 0, NICE);
    ferry_program_give_way(true);
    FerryLeash *leash = ferry_leash_new(); // the thread's, too, until the process ends
    g_thread_unref(g_thread_new("commands", obey, leash));
    int code = save(&options, leash, &error) ? 0 : ferry_program_failed(error);
    g_free(options.area);
    g_free(options.socket);
    return code;
}
