// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/stream_script.h"

#include "migrate/qemu_stream.h"

#include <string.h>

enum { PAGE = 4096, STREAM_MAX = 512 * 1024 };

static void put8(GByteArray *stream, uint8_t value)
{
    g_byte_array_append(stream, &value, 1);
}

static void put32(GByteArray *stream, uint32_t value)
{
    value = GUINT32_TO_BE(value);
    g_byte_array_append(stream, (const guint8 *)&value, sizeof value);
}

static void put64(GByteArray *stream, uint64_t value)
{
    value = GUINT64_TO_BE(value);
    g_byte_array_append(stream, (const guint8 *)&value, sizeof value);
}

static void put_name(GByteArray *stream, const char *name)
{
    put8(stream, (uint8_t)strlen(name));
    g_byte_array_append(stream, (const guint8 *)name, (guint)strlen(name));
}

static const char *name_of(uint8_t which)
{
    static const char *const names[] = {"pc.ram", "pc.rom", "vga.vram", "ram"};
    return names[which % G_N_ELEMENTS(names)];
}

static void put_head(GByteArray *stream)
{
    put32(stream, QEMU_VM_FILE_MAGIC);
    put32(stream, QEMU_VM_FILE_VERSION);
    put8(stream, QEMU_VM_CONFIGURATION);
    put32(stream, 10);
    g_byte_array_append(stream, (const guint8 *)"pc-q35-7.2", 10);
}

static void put_section(GByteArray *stream, uint8_t type)
{
    put8(stream, type);
    put32(stream, 2);
    if (type != QEMU_VM_SECTION_START)
        return;
    put_name(stream, "ram");
    put32(stream, 0);
    put32(stream, QEMU_RAM_VERSION);
}

static void put_blocks(GByteArray *stream, FuzzInput *input)
{
    uint64_t ram = (1 + (uint64_t)fuzz_u8(input)) * PAGE, rom = 2 * PAGE;
    put64(stream, (ram + rom) | QEMU_RAM_MEM_SIZE);
    put_name(stream, "pc.ram");
    put64(stream, ram);
    put_name(stream, "pc.rom");
    put64(stream, rom);
}

static void put_page(GByteArray *stream, FuzzInput *input)
{
    uint8_t how = fuzz_u8(input), fill = fuzz_u8(input);
    uint64_t address = (uint64_t)fuzz_u8(input) * PAGE;
    bool zero = how & 1, again = how & 2;
    put64(stream,
          address | (zero ? QEMU_RAM_ZERO : QEMU_RAM_PAGE) | (again ? QEMU_RAM_CONTINUE : 0));
    if (!again)
        put_name(stream, name_of(how >> 2 & 1));
    guint before = stream->len;
    g_byte_array_set_size(stream, before + (zero ? 1 : PAGE));
    memset(stream->data + before, zero ? 0 : fill, stream->len - before);
}

static void put_tail(GByteArray *stream)
{
    static const char description[] = "{\"page_size\": 4096}";
    put8(stream, QEMU_VM_SECTION_FULL);
    g_byte_array_append(stream, (const guint8 *)"device", 6);
    put8(stream, QEMU_VM_EOF);
    put8(stream, QEMU_VM_VMDESCRIPTION);
    put32(stream, (uint32_t)strlen(description));
    g_byte_array_append(stream, (const guint8 *)description, (guint)strlen(description));
}

static void put_raw(GByteArray *stream, FuzzInput *input)
{
    size_t length, wanted = 1 + fuzz_u8(input) % 64;
    const uint8_t *bytes = fuzz_bytes(input, wanted, &length);
    g_byte_array_append(stream, bytes, (guint)length);
}

static void put_number(GByteArray *stream, FuzzInput *input)
{
    uint64_t low = fuzz_u32(input), high = fuzz_u32(input);
    put64(stream, high << 32 | low);
}

static void put_word(GByteArray *stream, FuzzInput *input)
{
    uint8_t word = fuzz_u8(input);
    switch (word % 16) {
    case 0:
        return put_head(stream);
    case 1:
    case 2:
    case 3:
        return put_section(stream, word % 16);
    case 4:
        return put_blocks(stream, input);
    case 5:
        return put64(stream, QEMU_RAM_EOS);
    case 6:
        put8(stream, QEMU_VM_SECTION_FOOTER);
        return put32(stream, 2);
    case 7:
        return put_tail(stream);
    case 8:
        return put_raw(stream, input);
    case 9:
        return put_number(stream, input);
    case 10:
        return put_name(stream, name_of(word >> 4));
    case 11:
        return put8(stream, QEMU_VM_SUBSECTION);
    case 12:
        return put_name(stream, "configuration/capabilities");
    case 13:
        return put32(stream, fuzz_u8(input));
    default:
        return put_page(stream, input);
    }
}

GByteArray *stream_script(FuzzInput *input)
{
    GByteArray *stream = g_byte_array_new();
    bool raw = fuzz_u8(input) & 1;
    if (raw)
        g_byte_array_append(stream, input->data, (guint)input->size);
    while (!raw && input->size > 0 && stream->len < STREAM_MAX)
        put_word(stream, input);
    return stream;
}
