// SPDX-License-Identifier: GPL-2.0-or-later
// What stream_out writes, stream_in reads; a stream that is cut or garbled is refused.
#include "migrate/qemu_stream.h"
#include "migrate/stream_in.h"
#include "migrate/stream_out.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RAM_PAGES = 40, ROM_PAGES = 4, SECTION_HEADER = 5 };

// Type byte, length, machine.
static const uint8_t config[] = "\x07\0\0\0\x0bpc-q35-test";
// Sections, end mark, description.
static const uint8_t device[] = "\x04opaque\x06 device\0\x06\0\0\0\x0a{\"a\":\"\\0\"}";

typedef struct {
    unsigned config, blocks, pages, zeros, ram_ends, tails;
    uint64_t total_pages, sum;
    size_t device_length;
} Seen;

static bool on_config(void *env, const uint8_t *bytes, size_t length, GError **error)
{
    (void)error;
    ((Seen *)env)->config += length == sizeof config - 1 && memcmp(bytes, config, length) == 0;
    return true;
}

static bool on_blocks(void *env, const FerryBlock *blocks, uint32_t n_blocks,
                      uint64_t total_pages, GError **error)
{
    (void)error;
    (void)blocks;
    ((Seen *)env)->blocks += n_blocks;
    ((Seen *)env)->total_pages = total_pages;
    return true;
}

static bool on_zero(void *env, uint64_t page, GError **error)
{
    (void)error;
    Seen *seen = env;
    seen->zeros++;
    g_assert_cmpuint(page, <, seen->total_pages);
    return true;
}

static bool on_page(void *env, uint64_t page, const uint8_t *bytes, GError **error)
{
    (void)error;
    Seen *seen = env;
    seen->pages++;
    seen->sum += (page + 1) * bytes[0] + bytes[FERRY_PAGE - 1];
    g_assert_cmpuint(page, <, seen->total_pages);
    return true;
}

static bool on_ram_end(void *env, GError **error)
{
    (void)error;
    ((Seen *)env)->ram_ends++;
    return true;
}

static bool on_tail(void *env, const uint8_t *bytes, size_t length, size_t device_length,
                    GError **error)
{
    (void)error;
    Seen *seen = env;
    seen->tails += length == sizeof device - 1 && memcmp(bytes, device, length) == 0;
    seen->device_length = device_length;
    return true;
}

static const FerryStreamEvents events = {on_config, on_blocks,  on_zero,
                                         on_page,   on_ram_end, on_tail};

typedef struct {
    const uint8_t *bytes;
    size_t at, length, step;
} Source;

static ssize_t read_source(void *env, void *buffer, size_t bytes)
{
    Source *source = env;
    size_t n = MIN(MIN(bytes, source->step), source->length - source->at);
    memcpy(buffer, source->bytes + source->at, n);
    source->at += n;
    return (ssize_t)n;
}

// --- a stream as stream_out writes it ---

static gpointer collect(gpointer data)
{
    int fd = GPOINTER_TO_INT(data);
    GByteArray *bytes = g_byte_array_new();
    uint8_t chunk[4096];
    for (ssize_t n; (n = read(fd, chunk, sizeof chunk)) > 0;)
        g_byte_array_append(bytes, chunk, (guint)n);
    return bytes;
}

static uint64_t write_pages(FerryStreamOut *out, uint8_t (*pages)[FERRY_PAGE])
{
    g_autoptr(GError) error = NULL;
    uint64_t sum = 0;
    for (uint64_t page = 0; page < RAM_PAGES + ROM_PAGES; page++) {
        memset(pages[page], (int)(page * 5 + 1), FERRY_PAGE);
        bool fine = page % 3 == 0
                        ? ferry_stream_out_zero(out, page, &error)
                        : ferry_stream_out_page(out, page, pages[page], &error);
        g_assert_true(fine);
        if (page % 3 != 0)
            sum += (page + 1) * pages[page][0] + pages[page][FERRY_PAGE - 1];
    }
    return sum;
}

// *END: where the section header is that RAM ends with.
static GByteArray *make_stream(uint64_t *sum, size_t *end)
{
    g_autoptr(GError) error = NULL;
    g_autofree FerryDescriptor *descriptor = g_new0(FerryDescriptor, 1);
    static uint8_t pages[RAM_PAGES + ROM_PAGES][FERRY_PAGE];
    int fds[2];
    ferry_image_layout(descriptor, RAM_PAGES + ROM_PAGES);
    descriptor->config_length = sizeof config - 1;
    memcpy(descriptor->config, config, sizeof config - 1);
    descriptor->tail_length = sizeof device - 1;
    descriptor->n_blocks = 2;
    descriptor->blocks[0] = (FerryBlock){"pc.ram", (uint64_t)RAM_PAGES * FERRY_PAGE, 0, false};
    descriptor->blocks[1] =
        (FerryBlock){"/rom@etc/acpi/tables", (uint64_t)ROM_PAGES * FERRY_PAGE, RAM_PAGES, false};
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    GThread *thread = g_thread_new("collect", collect, GINT_TO_POINTER(fds[1]));
    g_autoptr(FerryStreamOut) out = ferry_stream_out_new(fds[0], descriptor);
    g_assert_true(ferry_stream_out_head(out, &error));
    *end = ferry_stream_out_bytes(out) - SECTION_HEADER;
    *sum = write_pages(out, pages);
    g_assert_true(ferry_stream_out_tail(out, device, &error));
    uint64_t sent = ferry_stream_out_bytes(out);
    close(fds[0]);
    GByteArray *bytes = g_thread_join(thread);
    close(fds[1]);
    g_assert_cmpuint(bytes->len, ==, sent);
    return bytes;
}

static void test_round_trip(gconstpointer step)
{
    g_autoptr(GError) error = NULL;
    uint64_t sum;
    size_t end;
    g_autoptr(GByteArray) bytes = make_stream(&sum, &end);
    Source source = {bytes->data, 0, bytes->len, GPOINTER_TO_SIZE(step)};
    Seen seen = {0};
    g_assert_true(ferry_stream_read(read_source, &source, &events, &seen, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(seen.config, ==, 1);
    g_assert_cmpuint(seen.blocks, ==, 2);
    g_assert_cmpuint(seen.total_pages, ==, RAM_PAGES + ROM_PAGES);
    g_assert_cmpuint(seen.zeros, ==, 15);
    g_assert_cmpuint(seen.pages, ==, RAM_PAGES + ROM_PAGES - 15);
    g_assert_cmpuint(seen.sum, ==, sum);
    g_assert_cmpuint(seen.ram_ends, ==, 1);
    g_assert_cmpuint(seen.tails, ==, 1);
    g_assert_cmpuint(seen.device_length, ==, 15);
}

static bool parse(const uint8_t *bytes, size_t length, GError **error)
{
    Source source = {bytes, 0, length, SIZE_MAX};
    Seen seen = {0};
    return ferry_stream_read(read_source, &source, &events, &seen, error);
}

static void test_cut(void)
{
    uint64_t sum;
    size_t end;
    g_autoptr(GByteArray) bytes = make_stream(&sum, &end);
    for (size_t length = 0; length < bytes->len; length += length < 400 ? 1 : 37) {
        g_autoptr(GError) error = NULL;
        g_assert_false(parse(bytes->data, length, &error));
        g_assert_error(error, FERRY_ERROR, FERRY_ERROR_STREAM);
    }
}

// What QEMU 10.0's machine types send before the pause; no other command belongs there.
static void test_command(void)
{
    static const struct {
        uint8_t bytes[5];
        bool fine;
    } commands[] = {
        {{QEMU_VM_COMMAND, 0, QEMU_CMD_SWITCHOVER_START, 0, 0}, true},
        {{QEMU_VM_COMMAND, 0, QEMU_CMD_SWITCHOVER_START, 0, 1}, false},
        {{QEMU_VM_COMMAND, 0, QEMU_CMD_POSTCOPY_RUN, 0, 0}, false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_autoptr(GError) error = NULL;
        uint64_t sum;
        size_t end;
        g_autoptr(GByteArray) before = make_stream(&sum, &end);
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        g_byte_array_append(bytes, before->data, (guint)end);
        g_byte_array_append(bytes, commands[i].bytes, sizeof commands[i].bytes);
        g_byte_array_append(bytes, before->data + end, before->len - (guint)end);
        g_assert_cmpint(parse(bytes->data, bytes->len, &error), ==, commands[i].fine);
        g_assert_true(commands[i].fine || g_error_matches(error, FERRY_ERROR, FERRY_ERROR_STREAM));
    }
}

// Whatever is changed in the head or the first records: refused or read, never more than that.
static void test_garbled(void)
{
    uint64_t sum;
    size_t end;
    g_autoptr(GByteArray) bytes = make_stream(&sum, &end);
    unsigned refused = 0;
    for (size_t at = 0; at < 200; at++)
        for (unsigned change = 1; change < 256; change += 17) {
            g_autoptr(GError) error = NULL;
            uint8_t before = bytes->data[at];
            bytes->data[at] ^= (uint8_t)change;
            refused += !parse(bytes->data, bytes->len, &error);
            bytes->data[at] = before;
        }
    g_assert_cmpuint(refused, >, 200 * 15 / 2);
}

static void test_qemu_gone(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree FerryDescriptor *descriptor = g_new0(FerryDescriptor, 1);
    int fds[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    close(fds[1]);
    g_autoptr(FerryStreamOut) out = ferry_stream_out_new(fds[0], descriptor);
    g_assert_false(ferry_stream_out_head(out, &error));
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_STREAM);
    close(fds[0]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/stream/round-trip", GSIZE_TO_POINTER(SIZE_MAX), test_round_trip);
    g_test_add_data_func("/stream/byte-by-byte", GSIZE_TO_POINTER(1), test_round_trip);
    g_test_add_func("/stream/cut", test_cut);
    g_test_add_func("/stream/command", test_command);
    g_test_add_func("/stream/garbled", test_garbled);
    g_test_add_func("/stream/qemu-gone", test_qemu_gone);
    return g_test_run();
}
