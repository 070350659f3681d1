// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/stream_out.h"

#include "migrate/qemu_stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    RAM_SECTION = 2, // any number, the same in all sections
    HEADS = 64 * 1024,
    PARTS = 512,
    EAGER_BYTES = 1024 * 1024, // on their way: fewer changes between us and QEMU
    MAX_HEAD = 8 + 1 + 255 + 1,
};

struct FerryStreamOut {
    int fd;
    const FerryDescriptor *descriptor;
    const FerryBlock *block; // of the last page
    uint8_t heads[HEADS]; // everything but pages
    size_t n_heads;
    struct iovec parts[PARTS];
    size_t n_parts;
    uint64_t bytes;
};

FerryStreamOut *ferry_stream_out_new(int fd, const FerryDescriptor *descriptor)
{
    FerryStreamOut *out = g_new0(FerryStreamOut, 1);
    out->fd = fd;
    out->descriptor = descriptor;
    ferry_stream_out_limit(out, EAGER_BYTES);
    return out;
}

void ferry_stream_out_limit(FerryStreamOut *out, int bytes)
{
    setsockopt(out->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)); // a hint
}

void ferry_stream_out_free(FerryStreamOut *out)
{
    g_free(out);
}

uint64_t ferry_stream_out_bytes(const FerryStreamOut *out)
{
    return out->bytes;
}

// --- bytes ---

static void drop_sent(struct msghdr *message, size_t sent)
{
    while (message->msg_iovlen > 0 && sent >= message->msg_iov->iov_len) {
        sent -= message->msg_iov->iov_len;
        message->msg_iov++;
        message->msg_iovlen--;
    }
    if (sent > 0) {
        message->msg_iov->iov_base = (uint8_t *)message->msg_iov->iov_base + sent;
        message->msg_iov->iov_len -= sent;
    }
}

bool ferry_stream_out_flush(FerryStreamOut *out, GError **error)
{
    struct msghdr message = {.msg_iov = out->parts, .msg_iovlen = out->n_parts};
    while (message.msg_iovlen > 0) {
        ssize_t n = sendmsg(out->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM,
                        "QEMU stopped reading its memory: %s; its log says why",
                        g_strerror(errno));
            return false;
        }
        out->bytes += (uint64_t)n;
        drop_sent(&message, (size_t)n);
    }
    out->n_parts = 0;
    out->n_heads = 0;
    return true;
}

static bool make_room(FerryStreamOut *out, size_t heads, GError **error)
{
    if (out->n_parts + 2 <= PARTS && out->n_heads + heads <= HEADS)
        return true;
    return ferry_stream_out_flush(out, error);
}

// Room was made. Bytes that follow each other go as one part.
static void add_head(FerryStreamOut *out, const void *bytes, size_t length)
{
    uint8_t *at = out->heads + out->n_heads;
    memcpy(at, bytes, length);
    out->n_heads += length;
    struct iovec *last = out->n_parts > 0 ? &out->parts[out->n_parts - 1] : NULL;
    if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == at)
        last->iov_len += length;
    else
        out->parts[out->n_parts++] = (struct iovec){at, length};
}

static void add8(FerryStreamOut *out, uint8_t value)
{
    add_head(out, &value, sizeof(value));
}

static void add16(FerryStreamOut *out, uint16_t value)
{
    value = GUINT16_TO_BE(value);
    add_head(out, &value, sizeof(value));
}

static void add32(FerryStreamOut *out, uint32_t value)
{
    value = GUINT32_TO_BE(value);
    add_head(out, &value, sizeof(value));
}

static void add64(FerryStreamOut *out, uint64_t value)
{
    value = GUINT64_TO_BE(value);
    add_head(out, &value, sizeof(value));
}

static void add_name(FerryStreamOut *out, const char *name)
{
    uint8_t length = (uint8_t)strnlen(name, UINT8_MAX);
    add8(out, length);
    add_head(out, name, length);
}

// --- sections ---

static void add_section_end(FerryStreamOut *out)
{
    add64(out, QEMU_RAM_EOS);
    add8(out, QEMU_VM_SECTION_FOOTER);
    add32(out, RAM_SECTION);
}

// The list of FERRY_MAX_BLOCKS blocks, and a discard for each, fit in the empty buffer.
G_STATIC_ASSERT(HEADS >= FERRY_MAX_CONFIG + 3 * FERRY_MAX_BLOCKS * MAX_HEAD + 1024);

static void add_ram_start(FerryStreamOut *out)
{
    const FerryDescriptor *descriptor = out->descriptor;
    add8(out, QEMU_VM_SECTION_START);
    add32(out, RAM_SECTION);
    add_name(out, "ram");
    add32(out, 0);
    add32(out, QEMU_RAM_VERSION);
    add64(out, descriptor->total_pages * FERRY_PAGE | QEMU_RAM_MEM_SIZE);
    for (uint32_t i = 0; i < descriptor->n_blocks; i++) {
        add_name(out, descriptor->blocks[i].name);
        add64(out, descriptor->blocks[i].length);
        if (descriptor->blocks[i].huge) // told to a QEMU that was advised of postcopy only
            add64(out, FERRY_HUGE);
    }
    add_section_end(out);
}

bool ferry_stream_out_head(FerryStreamOut *out, GError **error)
{
    const FerryDescriptor *descriptor = out->descriptor;
    if (!ferry_stream_out_flush(out, error))
        return false;
    add32(out, QEMU_VM_FILE_MAGIC);
    add32(out, QEMU_VM_FILE_VERSION);
    add_head(out, descriptor->config, descriptor->config_length);
    add_ram_start(out);
    add8(out, QEMU_VM_SECTION_END);
    add32(out, RAM_SECTION);
    return ferry_stream_out_flush(out, error);
}

static bool holds(const FerryBlock *block, uint64_t page)
{
    return page >= block->first_page && page - block->first_page < block->length / FERRY_PAGE;
}

// PAGE is below the descriptor's total_pages.
static const FerryBlock *block_of(const FerryStreamOut *out, uint64_t page)
{
    const FerryBlock *block = out->block;
    if (block == NULL || !holds(block, page))
        for (block = out->descriptor->blocks; !holds(block, page);)
            block++;
    return block;
}

// --- the lazy way ---

static void add_command(FerryStreamOut *out, uint16_t command, size_t length)
{
    add8(out, QEMU_VM_COMMAND);
    add16(out, command);
    add16(out, (uint16_t)length);
}

// Type byte, length and name of the machine; not the subsections: the capabilities named there were
// those of the save, and a lazy load has others.
static bool add_machine(FerryStreamOut *out, GError **error)
{
    enum { HEAD = 5 };
    const FerryDescriptor *descriptor = out->descriptor;
    uint32_t length = 0;
    if (descriptor->config_length >= HEAD)
        memcpy(&length, descriptor->config + 1, sizeof(length));
    length = GUINT32_FROM_BE(length);
    if (length == 0 || length > descriptor->config_length - HEAD) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_CORRUPT,
                    "the saved memory does not name its machine type; nothing of it was used");
        return false;
    }
    add_head(out, descriptor->config, HEAD + length);
    return true;
}

typedef struct {
    uint64_t start, length; // bytes within a RAM block
} Range;

enum { MAX_RANGES = 1000 }; // of one command, whose length has 16 bits

static void add_discard(FerryStreamOut *out, const FerryBlock *block, const Range *ranges, size_t n)
{
    size_t name = strnlen(block->name, UINT8_MAX);
    add_command(out, QEMU_CMD_POSTCOPY_RAM_DISCARD, 1 + 1 + name + 1 + n * sizeof(Range));
    add8(out, 0); // version
    add_name(out, block->name);
    add8(out, 0); // its end
    for (size_t i = 0; i < n; i++) {
        add64(out, ranges[i].start);
        add64(out, ranges[i].length);
    }
}

// QEMU's state machine needs at least one discard; whole blocks leave nothing of a fresh QEMU's
// ROMs, so that what is never sent is zero.
static void add_discard_all(FerryStreamOut *out)
{
    for (uint32_t i = 0; i < out->descriptor->n_blocks; i++) {
        const FerryBlock *block = &out->descriptor->blocks[i];
        add_discard(out, block, &(Range){0, block->length}, 1);
    }
}

// Of all blocks, as bits.
static uint64_t page_sizes(const FerryDescriptor *descriptor)
{
    uint64_t sizes = 0;
    for (uint32_t i = 0; i < descriptor->n_blocks; i++)
        sizes |= descriptor->blocks[i].huge ? FERRY_HUGE : FERRY_PAGE;
    return sizes;
}

bool ferry_stream_out_lazy_head(FerryStreamOut *out, GError **error)
{
    if (!ferry_stream_out_flush(out, error))
        return false;
    add32(out, QEMU_VM_FILE_MAGIC);
    add32(out, QEMU_VM_FILE_VERSION);
    if (!add_machine(out, error))
        return false;
    add_command(out, QEMU_CMD_OPEN_RETURN_PATH, 0);
    add_command(out, QEMU_CMD_POSTCOPY_ADVISE, 16);
    add64(out, page_sizes(out->descriptor));
    add64(out, FERRY_PAGE);
    add_ram_start(out);
    add_discard_all(out);
    return ferry_stream_out_flush(out, error);
}

void ferry_stream_out_image(FerryStreamOut *out, const FerryDescriptor *descriptor)
{
    out->descriptor = descriptor;
    out->block = NULL;
}

bool ferry_stream_out_discard_all(FerryStreamOut *out, GError **error)
{
    if (!ferry_stream_out_flush(out, error))
        return false;
    add_discard_all(out);
    return ferry_stream_out_flush(out, error);
}

bool ferry_stream_out_discard(FerryStreamOut *out, const uint64_t *pages, size_t n, GError **error)
{
    for (size_t at = 0; at < n;) {
        Range ranges[MAX_RANGES];
        size_t n_ranges = 0;
        const FerryBlock *block = block_of(out, pages[at]);
        while (n_ranges < MAX_RANGES && at < n && holds(block, pages[at])) {
            size_t begin = at++;
            while (at < n && pages[at] == pages[at - 1] + 1 && holds(block, pages[at]))
                at++;
            ranges[n_ranges++] = (Range){(pages[begin] - block->first_page) * FERRY_PAGE,
                                         (at - begin) * FERRY_PAGE};
        }
        if (!make_room(out, MAX_HEAD + MAX_RANGES * sizeof(Range), error))
            return false;
        add_discard(out, block, ranges, n_ranges);
    }
    return ferry_stream_out_flush(out, error);
}

bool ferry_stream_out_package(FerryStreamOut *out, const uint8_t *tail, GError **error)
{
    enum { COMMAND = 5 };
    uint64_t sections = out->descriptor->device_length;
    if (sections > QEMU_MAX_PACKAGED - 2 * COMMAND) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM,
                    "a device state of %" G_GUINT64_FORMAT " bytes is too large for a lazy "
                    "restore; restore it eagerly",
                    sections);
        return false;
    }
    add_command(out, QEMU_CMD_PACKAGED, sizeof(uint32_t));
    add32(out, (uint32_t)(sections + 2 * COMMAND));
    add_command(out, QEMU_CMD_POSTCOPY_LISTEN, 0);
    out->parts[out->n_parts++] = (struct iovec){(void *)(uintptr_t)tail, sections};
    add_command(out, QEMU_CMD_POSTCOPY_RUN, 0);
    return ferry_stream_out_flush(out, error);
}

bool ferry_stream_out_ask_bitmap(FerryStreamOut *out, const FerryBlock *block, GError **error)
{
    if (!make_room(out, MAX_HEAD + 8, error))
        return false;
    add_command(out, QEMU_CMD_RECV_BITMAP, 1 + strnlen(block->name, UINT8_MAX));
    add_name(out, block->name);
    return ferry_stream_out_flush(out, error);
}

bool ferry_stream_out_resume(FerryStreamOut *out, GError **error)
{
    if (!make_room(out, MAX_HEAD, error))
        return false;
    add_command(out, QEMU_CMD_POSTCOPY_RESUME, 0);
    return ferry_stream_out_flush(out, error);
}

bool ferry_stream_out_part(FerryStreamOut *out, GError **error)
{
    if (!make_room(out, MAX_HEAD, error))
        return false;
    add8(out, QEMU_VM_SECTION_PART);
    add32(out, RAM_SECTION);
    return true;
}

bool ferry_stream_out_part_end(FerryStreamOut *out, GError **error)
{
    if (!make_room(out, MAX_HEAD, error))
        return false;
    add_section_end(out);
    return ferry_stream_out_flush(out, error);
}

bool ferry_stream_out_lazy_end(FerryStreamOut *out, GError **error)
{
    if (!make_room(out, MAX_HEAD, error))
        return false;
    add8(out, QEMU_VM_SECTION_END);
    add32(out, RAM_SECTION);
    add_section_end(out);
    add8(out, QEMU_VM_EOF);
    return ferry_stream_out_flush(out, error);
}

// --- pages ---

static void add_page_head(FerryStreamOut *out, uint64_t page, uint64_t kind)
{
    const FerryBlock *block = block_of(out, page);
    uint64_t address = (page - block->first_page) * FERRY_PAGE;
    add64(out, address | kind | (block == out->block ? QEMU_RAM_CONTINUE : 0));
    if (block != out->block)
        add_name(out, block->name);
    out->block = block;
}

bool ferry_stream_out_page(FerryStreamOut *out, uint64_t page, const uint8_t *bytes,
                           GError **error)
{
    if (!make_room(out, MAX_HEAD, error))
        return false;
    add_page_head(out, page, QEMU_RAM_PAGE);
    out->parts[out->n_parts++] = (struct iovec){(void *)(uintptr_t)bytes, FERRY_PAGE};
    return true;
}

bool ferry_stream_out_zero(FerryStreamOut *out, uint64_t page, GError **error)
{
    if (!make_room(out, MAX_HEAD, error))
        return false;
    add_page_head(out, page, QEMU_RAM_ZERO);
    add8(out, 0);
    return true;
}

bool ferry_stream_out_tail(FerryStreamOut *out, const uint8_t *tail, GError **error)
{
    if (!make_room(out, MAX_HEAD, error))
        return false;
    add_section_end(out);
    if (!ferry_stream_out_flush(out, error))
        return false;
    out->parts[out->n_parts++] =
        (struct iovec){(void *)(uintptr_t)tail, out->descriptor->tail_length};
    return ferry_stream_out_flush(out, error);
}
