// SPDX-License-Identifier: GPL-2.0-or-later
// Fragments of CPG messages: any sequence of them, and what was split is joined as it was.
#include "tests/fuzz/fuzz.h"

#include "agent/fragment.h"

#include <string.h>

static void check_add(FragmentJoin *join, const void *bytes, size_t length, GBytes **message)
{
    g_autoptr(GError) error = NULL;
    bool fine = fragment_join_add(join, bytes, length, message, &error);
    fuzz_check_error(fine, error);
    FUZZ_REQUIRE(fine || *message == NULL, "a message in spite of an error");
    FUZZ_REQUIRE(*message == NULL || (g_bytes_get_size(*message) > 0 &&
                                      g_bytes_get_size(*message) <= FRAGMENT_MESSAGE_MAX),
                 "a message of %zu bytes", g_bytes_get_size(*message));
}

static void add_any(FragmentJoin *join, FuzzInput *input)
{
    while (input->size > 0) {
        size_t length = 0, wanted = fuzz_u8(input);
        const uint8_t *bytes = fuzz_bytes(input, wanted, &length);
        g_autoptr(GBytes) message = NULL;
        check_add(join, bytes, length, &message);
    }
}

// Whatever came before, a whole message is understood.
static void check_split(FragmentJoin *join, const uint8_t *data, size_t size, size_t fragment_max)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) fragments = fragment_split(7, data, size, fragment_max, &error);
    FUZZ_REQUIRE(fragments != NULL, "%s", error->message);
    for (guint i = 0; i < fragments->len; i++) {
        g_autoptr(GBytes) message = NULL;
        gsize length;
        const void *bytes = g_bytes_get_data(fragments->pdata[i], &length);
        FUZZ_REQUIRE(length <= fragment_max, "a fragment of %zu bytes", length);
        check_add(join, bytes, length, &message);
        FUZZ_REQUIRE((message != NULL) == (i + 1 == fragments->len), "the end at %u of %u", i,
                     fragments->len);
        FUZZ_REQUIRE(message == NULL || (g_bytes_get_size(message) == size &&
                                         memcmp(g_bytes_get_data(message, NULL), data, size) == 0),
                     "joined to something else");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    g_autoptr(FragmentJoin) join = fragment_join_new();
    FuzzInput input = {data, size};
    add_any(join, &input);
    check_split(join, data, size, FRAGMENT_HEADER + 1 + data[0]);
    return 0;
}
