// SPDX-License-Identifier: GPL-2.0-or-later
// From QEMU's stream to the image and back: what the saver takes, the pager opens, page for page.
#include "tests/fuzz/fuzz.h"

#include "migrate/image_reader.h"
#include "migrate/image_writer.h"
#include "migrate/stream_in.h"
#include "migrate/writers.h"
#include "tests/fuzz/stream_script.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { AREA_PAGES = 600, EPOCH = 3, SEQUENCE = 7, THREADS = 2 };

typedef struct {
    FuzzInput in;
    FerryImageWriter *writer;
    FerryImage image;
    uint16_t fill[AREA_PAGES]; // of each page: 0 = zero or never sent, else its first byte + 1
} Save;

// Few of the saver's threads: making them, with their buffers, would take all the time.
FerryWriters *__real_ferry_writers_new(FerryArea *area, unsigned threads);
FerryWriters *__wrap_ferry_writers_new(FerryArea *area, unsigned threads);
FerryWriters *__wrap_ferry_writers_new(FerryArea *area, unsigned threads)
{
    (void)threads;
    return __real_ferry_writers_new(area, THREADS);
}

static int fd;
static char *path;
static uint64_t area_size;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    FerryDescriptor layout = {0};
    fuzz_log_quietly();
    area_size = ferry_image_layout(&layout, AREA_PAGES);
    fd = memfd_create("area", MFD_CLOEXEC);
    path = g_strdup_printf("/proc/self/fd/%d", fd);
    FUZZ_REQUIRE(fd >= 0 && ftruncate(fd, (off_t)area_size) == 0, "no memory file");
    return 0;
}

static ssize_t read_some(void *env, void *buffer, size_t bytes)
{
    size_t length;
    const uint8_t *from = fuzz_bytes(&((Save *)env)->in, bytes, &length);
    if (length > 0)
        memcpy(buffer, from, length);
    return (ssize_t)length;
}

static bool on_config(void *env, const uint8_t *bytes, size_t length, GError **error)
{
    return ferry_image_writer_config(((Save *)env)->writer, bytes, length, error);
}

static bool on_blocks(void *env, const FerryBlock *blocks, uint32_t n_blocks, uint64_t total_pages,
                      GError **error)
{
    bool fits =
        ferry_image_writer_blocks(((Save *)env)->writer, blocks, n_blocks, total_pages, error);
    FUZZ_REQUIRE(!fits || total_pages <= AREA_PAGES, "%" G_GUINT64_FORMAT " pages fit",
                 total_pages);
    return fits;
}

static bool on_zero(void *env, uint64_t page, GError **error)
{
    Save *save = env;
    save->fill[page] = 0;
    return ferry_image_writer_zero(save->writer, page, error);
}

static bool on_page(void *env, uint64_t page, const uint8_t *bytes, GError **error)
{
    Save *save = env;
    save->fill[page] = (uint16_t)(bytes[0] + 1);
    return ferry_image_writer_page(save->writer, page, bytes, error);
}

static bool on_ram_end(void *env, GError **error)
{
    return ferry_image_writer_ram_end(((Save *)env)->writer, error);
}

static bool on_tail(void *env, const uint8_t *bytes, size_t length, size_t device_length,
                    GError **error)
{
    Save *save = env;
    return ferry_image_writer_finish(save->writer, bytes, length, device_length, &save->image,
                                     error);
}

static const FerryStreamEvents stream_events = {on_config, on_blocks,  on_zero,
                                                on_page,   on_ram_end, on_tail};

static void seal(const FerryImage *image)
{
    uint8_t slot[FERRY_SLOT] = {0};
    FerryRecord record = {
        .sequence = SEQUENCE + 1, .epoch = EPOCH, .state = FERRY_SEALED, .image = *image};
    FUZZ_REQUIRE(pwrite(fd, slot, sizeof slot, FERRY_SLOT_B) == sizeof slot, "writing");
    ferry_record_encode(&record, slot);
    FUZZ_REQUIRE(pwrite(fd, slot, sizeof slot, FERRY_SLOT_A) == sizeof slot, "writing");
}

static void check_page(FerryImageReader *reader, uint64_t page, uint16_t fill, uint8_t *buffer)
{
    g_autoptr(GError) error = NULL;
    bool present = ferry_image_reader_state(reader, page) == FERRY_PAGE_PRESENT;
    FUZZ_REQUIRE(present == (fill != 0), "page %" G_GUINT64_FORMAT " is%s there", page,
                 present ? "" : " not");
    if (!present)
        return;
    FUZZ_REQUIRE(ferry_image_reader_pages(reader, page, 1, buffer, &error), "%s", error->message);
    FUZZ_REQUIRE(buffer[0] == fill - 1, "page %" G_GUINT64_FORMAT " has another content", page);
}

static void check_image(FerryArea *area, const Save *save)
{
    g_autoptr(GError) error = NULL;
    seal(&save->image);
    g_autoptr(FerryImageReader) reader = ferry_image_reader_open(area, EPOCH, &error);
    FUZZ_REQUIRE(reader != NULL, "what was saved is not opened: %s", error->message);
    uint8_t *buffer = ferry_buffer_new(FERRY_PAGE);
    for (uint64_t page = 0; page < ferry_image_reader_descriptor(reader)->total_pages; page++)
        check_page(reader, page, save->fill[page], buffer);
    free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL, problem = NULL;
    FuzzInput input = {data, size};
    g_autoptr(GByteArray) bytes = stream_script(&input);
    g_autoptr(FerryArea) area = ferry_area_open(path, &problem);
    FUZZ_REQUIRE(area != NULL, "%s", problem->message);
    g_autoptr(FerryImageWriter) writer = ferry_image_writer_new(area, EPOCH, SEQUENCE);
    g_autofree Save *save = g_new0(Save, 1);
    save->in = (FuzzInput){bytes->data, bytes->len};
    save->writer = writer;
    bool saved = ferry_stream_read(read_some, save, &stream_events, save, &error);
    fuzz_check_error(saved, error);
    if (saved)
        check_image(area, save);
    return 0;
}
