// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's migration stream as the saver reads it: its parts come in order and within their bounds,
// and however the bytes arrive.
#include "tests/fuzz/fuzz.h"

#include "migrate/stream_in.h"
#include "tests/fuzz/stream_script.h"

#include <string.h>

typedef struct {
    const GByteArray *bytes;
    size_t at, piece;
    unsigned configs, lists, ends, tails;
    uint64_t total_pages, told;
    bool refuse; // the first page
} Stream;

static ssize_t read_some(void *env, void *buffer, size_t bytes)
{
    Stream *stream = env;
    size_t length = MIN(MIN(bytes, stream->bytes->len - stream->at), stream->piece);
    if (length > 0)
        memcpy(buffer, stream->bytes->data + stream->at, length);
    stream->at += length;
    return (ssize_t)length;
}

static bool on_config(void *env, const uint8_t *bytes, size_t length, GError **error)
{
    (void)error;
    Stream *stream = env;
    FUZZ_REQUIRE(stream->configs++ == 0 && stream->lists == 0, "a configuration out of turn");
    FUZZ_REQUIRE(length >= 5 && length <= FERRY_MAX_CONFIG && bytes[0] == 7, "%zu bytes", length);
    return true;
}

static bool on_blocks(void *env, const FerryBlock *blocks, uint32_t n_blocks, uint64_t total_pages,
                      GError **error)
{
    (void)error;
    Stream *stream = env;
    uint64_t pages = 0;
    FUZZ_REQUIRE(stream->configs == 1 && stream->lists++ == 0, "a list out of turn");
    FUZZ_REQUIRE(n_blocks > 0 && n_blocks <= FERRY_MAX_BLOCKS, "%u blocks", n_blocks);
    for (uint32_t i = 0; i < n_blocks; i++) {
        FUZZ_REQUIRE(blocks[i].first_page == pages && blocks[i].length > 0, "block %u", i);
        pages += blocks[i].length / FERRY_PAGE;
    }
    FUZZ_REQUIRE(pages == total_pages, "%" G_GUINT64_FORMAT " pages", pages);
    stream->total_pages = total_pages;
    return true;
}

static bool on_any_page(Stream *stream, uint64_t page, GError **error)
{
    FUZZ_REQUIRE(stream->lists == 1 && stream->ends == 0, "a page out of turn");
    FUZZ_REQUIRE(page < stream->total_pages, "page %" G_GUINT64_FORMAT, page);
    stream->told += page;
    if (stream->refuse)
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_IO, "a disk that is full");
    return !stream->refuse;
}

static bool on_zero(void *env, uint64_t page, GError **error)
{
    return on_any_page(env, page, error);
}

static bool on_page(void *env, uint64_t page, const uint8_t *bytes, GError **error)
{
    ((Stream *)env)->told += bytes[0] + bytes[FERRY_PAGE - 1];
    return on_any_page(env, page, error);
}

static bool on_ram_end(void *env, GError **error)
{
    (void)error;
    Stream *stream = env;
    FUZZ_REQUIRE(stream->lists == 1 && stream->ends++ == 0, "the end of no memory");
    return true;
}

static bool on_tail(void *env, const uint8_t *bytes, size_t length, size_t device_length,
                    GError **error)
{
    (void)bytes, (void)error;
    Stream *stream = env;
    FUZZ_REQUIRE(stream->ends == 1 && stream->tails++ == 0, "device state out of turn");
    FUZZ_REQUIRE(device_length > 0 && device_length < length && length <= FERRY_DEVICE_MAX,
                 "%zu of %zu bytes", device_length, length);
    return true;
}

static const FerryStreamEvents stream_events = {on_config, on_blocks,  on_zero,
                                                on_page,   on_ram_end, on_tail};

static bool read_stream(const GByteArray *bytes, size_t piece, bool refuse, uint64_t *told)
{
    g_autoptr(GError) error = NULL;
    Stream stream = {.bytes = bytes, .piece = piece, .refuse = refuse};
    bool fine = ferry_stream_read(read_some, &stream, &stream_events, &stream, &error);
    fuzz_check_error(fine, error);
    FUZZ_REQUIRE(fine == (stream.tails == 1), "success without its end");
    *told = stream.told;
    return fine;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    FuzzInput input = {data, size};
    uint8_t how = fuzz_u8(&input);
    g_autoptr(GByteArray) bytes = stream_script(&input);
    uint64_t whole, pieces, none;
    bool fine = read_stream(bytes, SIZE_MAX, false, &whole);
    FUZZ_REQUIRE(read_stream(bytes, 1 + how % 64 * 37, false, &pieces) == fine && pieces == whole,
                 "the same bytes in pieces are another stream");
    if (how & 0x80)
        read_stream(bytes, SIZE_MAX, true, &none);
    return 0;
}
