// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/stream_in.h"

#include "migrate/qemu_stream.h"

#include <errno.h>
#include <string.h>

enum { INPUT = 512 * 1024, NAME_MAX_LENGTH = 255 };

typedef struct {
    FerryReadFn read;
    void *read_env;
    const FerryStreamEvents *events;
    void *env;
    uint8_t *input; // INPUT bytes; [at, end) is not used yet
    size_t at, end;
    FerryBlock blocks[FERRY_MAX_BLOCKS];
    uint32_t n_blocks;
    uint64_t total_pages;
    const FerryBlock *block; // of the last page
    uint32_t ram_section;
    bool have_ram;
} Stream;

static bool broken(GError **error, const char *what)
{
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM, "QEMU's migration stream %s", what);
    return false;
}

// --- bytes ---

static bool fill(Stream *stream, size_t want, GError **error)
{
    memmove(stream->input, stream->input + stream->at, stream->end - stream->at);
    stream->end -= stream->at;
    stream->at = 0;
    while (stream->end < want) {
        ssize_t n = stream->read(stream->read_env, stream->input + stream->end,
                                 INPUT - stream->end);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return broken(error, n == 0 ? "was cut; did QEMU end, or was the move cancelled?"
                                        : g_strerror(errno));
        stream->end += (size_t)n;
    }
    return true;
}

// The next BYTES (at most INPUT), borrowed until the next call; NULL when the stream ended.
static const uint8_t *take(Stream *stream, size_t bytes, GError **error)
{
    if (stream->end - stream->at < bytes && !fill(stream, bytes, error))
        return NULL;
    const uint8_t *taken = stream->input + stream->at;
    stream->at += bytes;
    return taken;
}

static bool take8(Stream *stream, uint8_t *value, GError **error)
{
    const uint8_t *bytes = take(stream, 1, error);
    if (bytes != NULL)
        *value = bytes[0];
    return bytes != NULL;
}

static bool take32(Stream *stream, uint32_t *value, GError **error)
{
    const uint8_t *bytes = take(stream, 4, error);
    if (bytes == NULL)
        return false;
    memcpy(value, bytes, sizeof(*value));
    *value = GUINT32_FROM_BE(*value);
    return true;
}

static bool take64(Stream *stream, uint64_t *value, GError **error)
{
    const uint8_t *bytes = take(stream, 8, error);
    if (bytes == NULL)
        return false;
    memcpy(value, bytes, sizeof(*value));
    *value = GUINT64_FROM_BE(*value);
    return true;
}

static bool take_name(Stream *stream, char name[NAME_MAX_LENGTH + 1], GError **error)
{
    uint8_t length;
    const uint8_t *bytes = NULL;
    if (take8(stream, &length, error))
        bytes = take(stream, length, error);
    if (bytes == NULL)
        return false;
    memcpy(name, bytes, length);
    name[length] = '\0';
    return g_utf8_validate(name, length, NULL) || broken(error, "has a name that is no text");
}

// --- head ---

static bool append(GByteArray *config, Stream *stream, size_t bytes, GError **error)
{
    if (config->len + bytes > FERRY_MAX_CONFIG)
        return broken(error, "has a configuration section that is too long");
    const uint8_t *taken = take(stream, bytes, error);
    if (taken != NULL)
        g_byte_array_append(config, taken, (guint)bytes);
    return taken != NULL;
}

static uint32_t last32(const GByteArray *config)
{
    uint32_t value;
    memcpy(&value, config->data + config->len - 4, sizeof(value));
    return GUINT32_FROM_BE(value);
}

// `configuration/capabilities`: a count, then each a length and a name.
static bool read_subsection(Stream *stream, GByteArray *config, GError **error)
{
    if (!append(config, stream, 2, error) ||
        !append(config, stream, config->data[config->len - 1], error) ||
        !append(config, stream, 8, error))
        return false;
    static const char known[] = "configuration/capabilities";
    size_t name_at = config->len - 8 - strlen(known);
    if (config->len < 8 + strlen(known) || memcmp(config->data + name_at, known, strlen(known)) != 0)
        return broken(error, "has a configuration that this version does not understand");
    for (uint32_t left = last32(config); left > 0; left--)
        if (!append(config, stream, 1, error) ||
            !append(config, stream, config->data[config->len - 1], error))
            return false;
    return true;
}

static bool peek(Stream *stream, uint8_t *next, GError **error)
{
    if (!take8(stream, next, error))
        return false;
    stream->at--;
    return true;
}

static bool read_config(Stream *stream, GError **error)
{
    g_autoptr(GByteArray) config = g_byte_array_new();
    uint8_t next;
    if (!append(config, stream, 5, error) || !append(config, stream, last32(config), error) ||
        !peek(stream, &next, error))
        return false;
    while (next == QEMU_VM_SUBSECTION)
        if (!read_subsection(stream, config, error) || !peek(stream, &next, error))
            return false;
    return stream->events->config(stream->env, config->data, config->len, error);
}

static bool read_head(Stream *stream, GError **error)
{
    uint32_t magic, version;
    uint8_t next;
    if (!take32(stream, &magic, error) || !take32(stream, &version, error))
        return false;
    if (magic != QEMU_VM_FILE_MAGIC || version != QEMU_VM_FILE_VERSION)
        return broken(error, "does not begin as one");
    if (!peek(stream, &next, error))
        return false;
    return next == QEMU_VM_CONFIGURATION ? read_config(stream, error)
                                         : broken(error, "has no configuration section");
}

// --- RAM ---

static bool read_blocks(Stream *stream, uint64_t total, GError **error)
{
    if (stream->n_blocks != 0 || total == 0 || total % FERRY_PAGE != 0 || total > G_MAXINT64)
        return broken(error, "has a second or a strange list of RAM blocks");
    for (uint64_t left = total; left > 0; stream->n_blocks++) {
        FerryBlock *block = &stream->blocks[stream->n_blocks];
        if (stream->n_blocks == FERRY_MAX_BLOCKS)
            return broken(error, "has more RAM blocks than the image format holds");
        if (!take_name(stream, block->name, error) || !take64(stream, &block->length, error))
            return false;
        if (block->length == 0 || block->length % FERRY_PAGE != 0 || block->length > left)
            return broken(error, "has a RAM block whose length does not fit");
        block->first_page = stream->total_pages;
        stream->total_pages += block->length / FERRY_PAGE;
        left -= block->length;
    }
    return stream->events->blocks(stream->env, stream->blocks, stream->n_blocks,
                                  stream->total_pages, error);
}

static bool find_block(Stream *stream, GError **error)
{
    char name[NAME_MAX_LENGTH + 1];
    if (!take_name(stream, name, error))
        return false;
    for (uint32_t i = 0; i < stream->n_blocks; i++)
        if (strcmp(stream->blocks[i].name, name) == 0) {
            stream->block = &stream->blocks[i];
            return true;
        }
    return broken(error, "has a page of a RAM block that is not in its list");
}

static bool read_page(Stream *stream, uint64_t head, GError **error)
{
    uint64_t address = head & ~(uint64_t)QEMU_RAM_FLAGS;
    const uint8_t *bytes;
    if (!(head & QEMU_RAM_CONTINUE) && !find_block(stream, error))
        return false;
    if (stream->block == NULL || address >= stream->block->length)
        return broken(error, "has a page outside of its RAM block");
    uint64_t page = stream->block->first_page + address / FERRY_PAGE;
    if (head & QEMU_RAM_PAGE) {
        bytes = take(stream, FERRY_PAGE, error);
        return bytes != NULL && stream->events->page(stream->env, page, bytes, error);
    }
    bytes = take(stream, 1, error);
    if (bytes == NULL)
        return false;
    if (bytes[0] != 0)
        return broken(error, "fills a page with something else than zeros");
    return stream->events->zero(stream->env, page, error);
}

// Records until the section's end mark.
static bool read_ram(Stream *stream, GError **error)
{
    for (;;) {
        uint64_t head;
        if (!take64(stream, &head, error))
            return false;
        uint64_t kind = head & QEMU_RAM_FLAGS & ~(uint64_t)QEMU_RAM_CONTINUE;
        bool fine = true;
        if (kind == QEMU_RAM_EOS)
            return true;
        if (kind == QEMU_RAM_PAGE || kind == QEMU_RAM_ZERO)
            fine = read_page(stream, head, error);
        else if (kind == QEMU_RAM_MEM_SIZE)
            fine = read_blocks(stream, head & ~(uint64_t)QEMU_RAM_FLAGS, error);
        else if (kind != QEMU_RAM_MULTIFD_FLUSH)
            fine = broken(error, "has a kind of RAM record that this version does not understand; "
                                 "no migration capability may be set");
        if (!fine)
            return false;
    }
}

// --- sections ---

static bool read_footer(Stream *stream, uint32_t section, GError **error)
{
    uint8_t mark;
    uint32_t id;
    if (!take8(stream, &mark, error) || !take32(stream, &id, error))
        return false;
    return (mark == QEMU_VM_SECTION_FOOTER && id == section) ||
           broken(error, "has a section without its end");
}

static bool read_start(Stream *stream, uint32_t section, GError **error)
{
    char name[NAME_MAX_LENGTH + 1];
    uint32_t instance, version;
    if (!take_name(stream, name, error) || !take32(stream, &instance, error) ||
        !take32(stream, &version, error))
        return false;
    if (strcmp(name, "ram") != 0 || instance != 0 || stream->have_ram) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM,
                    "QEMU's migration stream has a device (%s) that sends its state while the "
                    "guest runs; such a VM cannot be saved yet",
                    name);
        return false;
    }
    stream->have_ram = true;
    stream->ram_section = section;
    return version == QEMU_RAM_VERSION || broken(error, "has an unknown version of RAM");
}

// QEMU 10.0 announces the pause to devices that load on connections of their own; vmferry has none.
static bool read_command(Stream *stream, GError **error)
{
    uint32_t command_and_length;
    return take32(stream, &command_and_length, error) &&
           (command_and_length == (uint32_t)QEMU_CMD_SWITCHOVER_START << 16 ||
            broken(error, "has a command that does not belong before the end of RAM"));
}

// *LAST: this was RAM's last section.
static bool read_section(Stream *stream, bool *last, GError **error)
{
    uint8_t type;
    uint32_t section;
    if (!take8(stream, &type, error))
        return false;
    if (type == QEMU_VM_COMMAND)
        return read_command(stream, error);
    if (!take32(stream, &section, error))
        return false;
    if (type == QEMU_VM_SECTION_START && !read_start(stream, section, error))
        return false;
    if (type < QEMU_VM_SECTION_START || type > QEMU_VM_SECTION_END || !stream->have_ram ||
        section != stream->ram_section)
        return broken(error, "has a section that does not belong before the end of RAM");
    *last = type == QEMU_VM_SECTION_END;
    return read_ram(stream, error) && read_footer(stream, section, error);
}

// --- tail ---

static bool read_rest(Stream *stream, GByteArray *tail, GError **error)
{
    for (;;) {
        g_byte_array_append(tail, stream->input + stream->at, (guint)(stream->end - stream->at));
        stream->at = stream->end = 0;
        if (tail->len > FERRY_DEVICE_MAX)
            return broken(error, "has more device state than the image format holds");
        ssize_t n = stream->read(stream->read_env, stream->input, INPUT);
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR)
            return broken(error, g_strerror(errno));
        stream->end = n > 0 ? (size_t)n : 0;
    }
}

// The end mark is followed by a description in JSON that reaches to the stream's end: found from
// there, as the device sections are opaque. 0: the stream was cut.
static size_t find_device_end(const GByteArray *tail)
{
    for (size_t at = tail->len; at-- > 1;) {
        uint32_t length;
        if (tail->data[at] != QEMU_VM_VMDESCRIPTION || tail->len - at < 6)
            continue;
        memcpy(&length, tail->data + at + 1, sizeof(length));
        if (GUINT32_FROM_BE(length) == tail->len - at - 5 && tail->data[at + 5] == '{' &&
            tail->data[at - 1] == QEMU_VM_EOF)
            return at - 1;
    }
    return 0;
}

static bool read_tail(Stream *stream, GError **error)
{
    g_autoptr(GByteArray) tail = g_byte_array_new();
    if (!read_rest(stream, tail, error))
        return false;
    size_t device_length = find_device_end(tail);
    if (device_length == 0)
        return broken(error, "was cut; did QEMU end, or was the move cancelled?");
    return stream->events->tail(stream->env, tail->data, tail->len, device_length, error);
}

bool ferry_stream_read(FerryReadFn read, void *read_env, const FerryStreamEvents *events,
                       void *env, GError **error)
{
    g_autofree uint8_t *input = g_malloc(INPUT);
    g_autofree Stream *stream = g_new0(Stream, 1);
    stream->read = read;
    stream->read_env = read_env;
    stream->events = events;
    stream->env = env;
    stream->input = input;
    if (!read_head(stream, error))
        return false;
    for (bool last = false; !last;)
        if (!read_section(stream, &last, error))
            return false;
    if (stream->n_blocks == 0)
        return broken(error, "has no RAM blocks");
    return events->ram_end(env, error) && read_tail(stream, error);
}
