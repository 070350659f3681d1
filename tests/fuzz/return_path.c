// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's return path in the pager: what is told fits the bytes it was made of, and nothing depends
// on how they arrive.
#include "tests/fuzz/fuzz.h"

#include "migrate/return_path.h"

#include <string.h>

static ptrdiff_t parse(FerryReturnPath *path, const uint8_t *bytes, size_t length,
                       FerryReturnMessage *message)
{
    g_autoptr(GError) error = NULL;
    ptrdiff_t used = ferry_return_path_parse(path, bytes, length, message, &error);
    fuzz_check_error(used >= 0, error);
    FUZZ_REQUIRE(used <= (ptrdiff_t)MIN(length, (size_t)FERRY_RETURN_MAX), "%td of %zu bytes used",
                 used, length);
    return used;
}

// A message that came in part is waited for, and nothing of it counts before it is whole.
static void check_pieces(const FerryReturnPath *before, const uint8_t *bytes, size_t used,
                         const FerryReturnMessage *whole)
{
    for (size_t length = 0; length <= used; length++) {
        FerryReturnPath path = *before;
        FerryReturnMessage message;
        g_autofree uint8_t *copy = g_memdup2(bytes, length);
        ptrdiff_t taken = parse(&path, copy, length, &message);
        FUZZ_REQUIRE(taken == (ptrdiff_t)(length < used ? 0 : used), "%td of %zu bytes", taken,
                     length);
        if (length < used)
            continue;
        FUZZ_REQUIRE(message.kind == whole->kind && message.status == whole->status &&
                         message.start == whole->start && message.length == whole->length &&
                         strcmp(message.block, whole->block) == 0,
                     "the same bytes say something else");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FerryReturnPath path = {0};
    while (size > 0) {
        FerryReturnPath before = path;
        FerryReturnMessage message;
        ptrdiff_t used = parse(&path, data, size, &message);
        if (used <= 0)
            break;
        FUZZ_REQUIRE(memchr(message.block, '\0', sizeof message.block) != NULL, "a name's end");
        FUZZ_REQUIRE(message.kind != FERRY_RETURN_PAGES || message.block[0] != '\0',
                     "pages of no block");
        check_pieces(&before, data, (size_t)used, &message);
        data += used;
        size -= (size_t)used;
    }
    return 0;
}
