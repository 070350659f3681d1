// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/migrate/fake_qemu.h"

#include "migrate/qemu_stream.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// --- words ---

static void get(FakeQemu *qemu, void *buffer, size_t length)
{
    for (size_t at = 0; at < length;) {
        ssize_t n = read(qemu->fd, (uint8_t *)buffer + at, length - at);
        g_assert_cmpint(n, >, 0);
        at += (size_t)n;
    }
    qemu->bytes += length;
}

static uint64_t number(FakeQemu *qemu, size_t length)
{
    uint8_t bytes[8];
    uint64_t value = 0;
    get(qemu, bytes, length);
    for (size_t i = 0; i < length; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void expect(FakeQemu *qemu, size_t length, uint64_t value)
{
    g_assert_cmphex(number(qemu, length), ==, value);
}

static void name(FakeQemu *qemu, char *text)
{
    size_t length = number(qemu, 1);
    get(qemu, text, length);
    text[length] = '\0';
}

static void expect_name(FakeQemu *qemu, const char *expected)
{
    char text[256];
    name(qemu, text);
    g_assert_cmpstr(text, ==, expected);
}

// --- the beginning ---

static void command(FakeQemu *qemu, uint64_t which, uint64_t length)
{
    expect(qemu, 1, QEMU_VM_COMMAND);
    expect(qemu, 2, which);
    expect(qemu, 2, length);
}

static void section_end(FakeQemu *qemu, uint64_t id)
{
    expect(qemu, 1, QEMU_VM_SECTION_FOOTER);
    expect(qemu, 4, id);
}

static void ram_start(FakeQemu *qemu, const FerryBlock *blocks, uint32_t n_blocks)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < n_blocks; i++)
        total += blocks[i].length;
    expect(qemu, 1, QEMU_VM_SECTION_START);
    uint64_t id = number(qemu, 4);
    expect_name(qemu, "ram");
    expect(qemu, 4, 0);
    expect(qemu, 4, QEMU_RAM_VERSION);
    expect(qemu, 8, total | QEMU_RAM_MEM_SIZE);
    for (uint32_t i = 0; i < n_blocks; i++) {
        expect_name(qemu, blocks[i].name);
        expect(qemu, 8, blocks[i].length);
    }
    expect(qemu, 8, QEMU_RAM_EOS);
    section_end(qemu, id);
}

void fake_qemu_head(FakeQemu *qemu, const FerryBlock *blocks, uint32_t n_blocks)
{
    expect(qemu, 4, QEMU_VM_FILE_MAGIC);
    expect(qemu, 4, QEMU_VM_FILE_VERSION);
    expect(qemu, 1, QEMU_VM_CONFIGURATION);
    uint8_t machine[256];
    uint64_t length = number(qemu, 4);
    g_assert_cmpuint(length, <=, sizeof machine);
    get(qemu, machine, length);
    command(qemu, QEMU_CMD_OPEN_RETURN_PATH, 0);
    command(qemu, QEMU_CMD_POSTCOPY_ADVISE, 16);
    expect(qemu, 8, FERRY_PAGE);
    expect(qemu, 8, FERRY_PAGE);
    ram_start(qemu, blocks, n_blocks);
    for (uint32_t i = 0; i < n_blocks; i++) {
        command(qemu, QEMU_CMD_POSTCOPY_RAM_DISCARD, strlen(blocks[i].name) + 19);
        expect(qemu, 1, 0);
        expect_name(qemu, blocks[i].name);
        expect(qemu, 1, 0);
        expect(qemu, 8, 0);
        expect(qemu, 8, blocks[i].length);
    }
}

void fake_qemu_package(FakeQemu *qemu, const void *device, size_t length)
{
    uint8_t bytes[4096];
    g_assert_cmpuint(length, <=, sizeof bytes);
    command(qemu, QEMU_CMD_PACKAGED, 4);
    expect(qemu, 4, length + 10);
    command(qemu, QEMU_CMD_POSTCOPY_LISTEN, 0);
    get(qemu, bytes, length);
    g_assert_cmpint(memcmp(bytes, device, length), ==, 0);
    command(qemu, QEMU_CMD_POSTCOPY_RUN, 0);
}

// --- pages ---

static void page_data(FakeQemu *qemu, uint64_t header, FakePage *page)
{
    if (!(header & QEMU_RAM_CONTINUE))
        name(qemu, qemu->block);
    memcpy(page->block, qemu->block, sizeof page->block);
    page->start = header & ~(uint64_t)QEMU_RAM_FLAGS;
    page->zero = header & QEMU_RAM_ZERO;
    memset(page->bytes, 0, sizeof page->bytes);
    if (page->zero)
        expect(qemu, 1, 0);
    else
        get(qemu, page->bytes, sizeof page->bytes);
}

void fake_qemu_page(FakeQemu *qemu, FakePage *page)
{
    for (;;) {
        uint64_t header = qemu->in_part ? number(qemu, 8) : QEMU_RAM_EOS;
        if (header != QEMU_RAM_EOS) {
            page->end = false;
            page_data(qemu, header, page);
            return;
        }
        if (qemu->in_part)
            section_end(qemu, qemu->section);
        uint64_t type = number(qemu, 1);
        qemu->in_part = type == QEMU_VM_SECTION_PART || type == QEMU_VM_SECTION_END;
        page->end = type == QEMU_VM_EOF;
        if (page->end)
            return;
        g_assert_true(qemu->in_part);
        qemu->section = number(qemu, 4);
    }
}

bool fake_qemu_at_end(FakeQemu *qemu)
{
    uint8_t bytes[4096];
    ssize_t n;
    while ((n = read(qemu->fd, bytes, sizeof bytes)) > 0)
        ;
    return n == 0;
}

// --- the return path ---

static void put(FakeQemu *qemu, GByteArray *bytes)
{
    g_assert_cmpint(send(qemu->fd, bytes->data, bytes->len, MSG_NOSIGNAL), ==, bytes->len);
    g_byte_array_unref(bytes);
}

static void add(GByteArray *bytes, size_t length, uint64_t value)
{
    for (size_t i = length; i-- > 0;) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        g_byte_array_append(bytes, &byte, 1);
    }
}

void fake_qemu_ask(FakeQemu *qemu, const char *block, uint64_t start, uint32_t bytes)
{
    GByteArray *message = g_byte_array_new();
    size_t length = block != NULL ? strlen(block) : 0;
    add(message, 2, block != NULL ? 3 : 4);
    add(message, 2, 12 + (block != NULL ? 1 + length : 0));
    add(message, 8, start);
    add(message, 4, bytes);
    if (block != NULL) {
        add(message, 1, length);
        g_byte_array_append(message, (const uint8_t *)block, (guint)length);
    }
    put(qemu, message);
}

void fake_qemu_shut(FakeQemu *qemu, uint32_t status)
{
    GByteArray *message = g_byte_array_new();
    add(message, 2, 1);
    add(message, 2, 4);
    add(message, 4, status);
    put(qemu, message);
}

void fake_qemu_bitmap(FakeQemu *qemu, const char *block, const uint8_t *bits, size_t bytes,
                      uint64_t end)
{
    GByteArray *message = g_byte_array_new();
    size_t length = strlen(block);
    command(qemu, QEMU_CMD_RECV_BITMAP, 1 + length);
    expect_name(qemu, block);
    add(message, 2, 5);
    add(message, 2, 1 + length);
    add(message, 1, length);
    g_byte_array_append(message, (const uint8_t *)block, (guint)length);
    add(message, 8, bytes);
    g_byte_array_append(message, bits, (guint)bytes);
    add(message, 8, end);
    put(qemu, message);
}

void fake_qemu_resume(FakeQemu *qemu)
{
    GByteArray *message = g_byte_array_new();
    command(qemu, QEMU_CMD_POSTCOPY_RESUME, 0);
    add(message, 2, 6);
    add(message, 2, 4);
    add(message, 4, 1);
    put(qemu, message);
}
