// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/lazy_resume.h"

#include "migrate/qemu_stream.h"
#include "migrate/return_path.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = 4, WORD_BITS = 64 };

static bool refuse(const FerryBlock *block, const char *what, GError **error)
{
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_STREAM,
                "QEMU does not tell what it has of \"%s\": %s; its log says why", block->name,
                what);
    return false;
}

static bool read_all(int fd, const FerryBlock *block, void *buffer, size_t length, GError **error)
{
    for (size_t at = 0; at < length;) {
        ssize_t n = read(fd, (uint8_t *)buffer + at, length - at);
        if (n == 0)
            return refuse(block, "it ended the connection", error);
        if (n < 0 && errno != EINTR)
            return refuse(block, g_strerror(errno), error);
        at += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool read_number(int fd, const FerryBlock *block, uint64_t *number, GError **error)
{
    if (!read_all(fd, block, number, sizeof(*number), error))
        return false;
    *number = GUINT64_FROM_BE(*number);
    return true;
}

// The message before the bitmap; others that need no answer may come before it.
static bool read_message(int fd, const FerryBlock *block, GError **error)
{
    uint8_t bytes[FERRY_RETURN_MAX];
    FerryReturnPath path = {0};
    FerryReturnMessage message = {.kind = FERRY_RETURN_OTHER};
    while (message.kind == FERRY_RETURN_OTHER) {
        if (!read_all(fd, block, bytes, HEAD, error))
            return false;
        size_t length = (size_t)(bytes[2] << 8 | bytes[3]);
        if (length > sizeof(bytes) - HEAD)
            return refuse(block, "a message is too long", error);
        if (!read_all(fd, block, bytes + HEAD, length, error) ||
            ferry_return_path_parse(&path, bytes, HEAD + length, &message, error) < 0)
            return false;
    }
    return (message.kind == FERRY_RETURN_BITMAP && strcmp(message.block, block->name) == 0) ||
           refuse(block, "another message came", error);
}

// Little-endian words, a set bit is a page that QEMU has.
static void tell_known(const FerryBlock *block, const uint64_t *words, FerryLazySend *send)
{
    for (uint64_t page = 0; page < block->length / FERRY_PAGE; page++)
        // The analyzer does not see that read_all has filled them in.
        // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult)
        if (GUINT64_FROM_LE(words[page / WORD_BITS]) >> page % WORD_BITS & 1)
            ferry_lazy_send_known(send, block->first_page + page, 1);
}

static bool read_bitmap(int fd, const FerryBlock *block, FerryLazySend *send, GError **error)
{
    uint64_t words = (block->length / FERRY_PAGE + WORD_BITS - 1) / WORD_BITS;
    uint64_t length, end;
    if (!read_message(fd, block, error) || !read_number(fd, block, &length, error))
        return false;
    if (length != words * sizeof(uint64_t))
        return refuse(block, "the bitmap has another length", error);
    g_autofree uint64_t *bits = g_new(uint64_t, words);
    if (!read_all(fd, block, bits, length, error) || !read_number(fd, block, &end, error))
        return false;
    if (end != QEMU_RECV_BITMAP_END)
        return refuse(block, "the bitmap's end is missing", error);
    tell_known(block, bits, send);
    return true;
}

bool ferry_lazy_resume(int fd, FerryStreamOut *out, const FerryDescriptor *descriptor,
                       FerryLazySend *send, GError **error)
{
    for (uint32_t i = 0; i < descriptor->n_blocks; i++) {
        const FerryBlock *block = &descriptor->blocks[i];
        if (!ferry_stream_out_ask_bitmap(out, block, error) ||
            !read_bitmap(fd, block, send, error))
            return false;
    }
    return true;
}
