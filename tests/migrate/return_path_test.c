// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/return_path.h"

#include <string.h>

#define REQUEST "\0\0\0\1\2\3\4\5\0\0\x10\0"
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static ptrdiff_t parse(FerryReturnPath *path, const uint8_t *bytes, size_t length,
                       FerryReturnMessage *message)
{
    g_autoptr(GError) error = NULL;
    ptrdiff_t used = ferry_return_path_parse(path, bytes, length, message, &error);
    if (used < 0)
        g_assert_error(error, FERRY_ERROR, FERRY_ERROR_STREAM);
    else
        g_assert_no_error(error);
    return used;
}

static void test_requests(void)
{
    FerryReturnPath path = {0};
    FerryReturnMessage message;
    g_assert_cmpint(parse(&path, BYTES("\0\3\0\x13" REQUEST "\6pc.ram"), &message), ==, 23);
    g_assert_cmpint(message.kind, ==, FERRY_RETURN_PAGES);
    g_assert_cmpstr(message.block, ==, "pc.ram");
    g_assert_cmpuint(message.start, ==, 0x102030405);
    g_assert_cmpuint(message.length, ==, 4096);
    g_assert_cmpint(parse(&path, BYTES("\0\4\0\x0c" REQUEST "\0\4"), &message), ==, 16);
    g_assert_cmpstr(message.block, ==, "pc.ram");
}

static void test_others(void)
{
    FerryReturnPath path = {0};
    FerryReturnMessage message;
    g_assert_cmpint(parse(&path, BYTES("\0\1\0\4\0\0\0\7"), &message), ==, 8);
    g_assert_cmpint(message.kind, ==, FERRY_RETURN_SHUT);
    g_assert_cmpuint(message.status, ==, 7);
    g_assert_cmpint(parse(&path, BYTES("\0\2\0\4\0\0\0\1"), &message), ==, 8);
    g_assert_cmpint(message.kind, ==, FERRY_RETURN_OTHER);
    g_assert_cmpint(parse(&path, BYTES("\0\5\0\3\2ab"), &message), ==, 7);
    g_assert_cmpint(message.kind, ==, FERRY_RETURN_BITMAP);
    g_assert_cmpstr(message.block, ==, "ab");
    g_assert_cmpint(parse(&path, BYTES("\0\6\0\4\0\0\0\1"), &message), ==, 8);
    g_assert_cmpint(message.kind, ==, FERRY_RETURN_RESUME_ACK);
    g_assert_cmpint(parse(&path, BYTES("\0\7\0\0"), &message), ==, 4);
    g_assert_cmpint(message.kind, ==, FERRY_RETURN_OTHER);
}

static void test_refused(void)
{
    FerryReturnPath path = {0};
    FerryReturnMessage message;
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {
        {"\0\4\0\x0c" REQUEST, 16},           // the first one without a name
        {"\0\4\0\x0d" REQUEST "x", 17},       // too long
        {"\0\3\0\x0c" REQUEST, 16},           // no name
        {"\0\3\0\x0d" REQUEST "\0", 17},      // empty name
        {"\0\3\0\x0e" REQUEST "\2a", 18},     // name longer than the message
        {"\0\3\0\x0f" REQUEST "\1ab", 19},    // and shorter
        {"\0\3\0\x0f" REQUEST "\2a\0", 19},   // a zero in it
        {"\0\3\xff\xff", 4},                  // longer than any message
        {"\0\1\0\3\0\0\0", 7},                // status
        {"\0\0\0\0", 4},                      // unknown
        {"\0\x08\0\0", 4},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_test_message("case %zu", i);
        g_assert_cmpint(parse(&path, (const uint8_t *)bad[i].bytes, bad[i].length, &message), ==,
                        -1);
    }
}

// Whatever is cut off is waited for.
static void test_incomplete(void)
{
    static const char whole[] = "\0\3\0\x13" REQUEST "\6pc.ram";
    for (size_t length = 0; length < sizeof(whole) - 1; length++) {
        FerryReturnPath path = {0};
        FerryReturnMessage message;
        g_autofree uint8_t *copy = g_memdup2(whole, length); // a sanitizer sees reads beyond it
        g_assert_cmpint(parse(&path, copy, length, &message), ==, 0);
    }
}

static void test_any_bytes(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    FerryReturnPath path = {0};
    for (unsigned round = 0; round < 200000; round++) {
        size_t length = (size_t)g_rand_int_range(random, 0, 300);
        g_autofree uint8_t *bytes = g_malloc(length + 1);
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)g_rand_int(random);
        if (length >= 4) { // often enough beyond the first checks
            bytes[0] = 0;
            bytes[1] &= 7;
            bytes[2] = 0;
        }
        FerryReturnMessage message;
        ptrdiff_t used = parse(&path, bytes, length, &message);
        g_assert_cmpint(used, <=, (ptrdiff_t)length);
        if (used > 0)
            g_assert_cmpuint(strnlen(message.block, sizeof(message.block)), <,
                             sizeof(message.block));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/return-path/requests", test_requests);
    g_test_add_func("/return-path/others", test_others);
    g_test_add_func("/return-path/refused", test_refused);
    g_test_add_func("/return-path/incomplete", test_incomplete);
    g_test_add_func("/return-path/any-bytes", test_any_bytes);
    return g_test_run();
}
