// SPDX-License-Identifier: GPL-2.0-or-later
// CRC-32C against the vectors of RFC 3720, B.4, and the two ways of computing it against each other.
#include "migrate/crc32c.h"

#include <glib.h>
#include <string.h>

static void test_vectors(void)
{
    uint8_t bytes[32];
    memset(bytes, 0, sizeof bytes);
    g_assert_cmphex(ferry_crc32c(0, bytes, sizeof bytes), ==, 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    g_assert_cmphex(ferry_crc32c(0, bytes, sizeof bytes), ==, 0x62a8ab43);
    for (uint8_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i;
    g_assert_cmphex(ferry_crc32c(0, bytes, sizeof bytes), ==, 0x46dd794e);
    g_assert_cmphex(ferry_crc32c(0, "123456789", 9), ==, 0xe3069283);
}

static void test_portable(void)
{
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)g_test_rand_int();
    for (size_t start = 0; start < 9; start++)
        for (size_t length = 0; length < sizeof bytes - start; length++)
            g_assert_cmphex(ferry_crc32c(7, bytes + start, length), ==,
                            ferry_crc32c_portable(7, bytes + start, length));
}

// Pages and what is around them: long inputs are taken in lanes.
static void test_pages(void)
{
    enum { LONGEST = 4 * 4096 };
    g_autofree uint8_t *bytes = g_malloc(LONGEST + 16);
    for (size_t i = 0; i < LONGEST + 16; i++)
        bytes[i] = (uint8_t)g_test_rand_int();
    for (size_t length = 4000; length <= 4200; length++)
        g_assert_cmphex(ferry_crc32c(0, bytes, length), ==, ferry_crc32c_portable(0, bytes, length));
    for (size_t start = 0; start < 16; start++)
        for (size_t length = 4096; length <= LONGEST; length += 1360)
            g_assert_cmphex(ferry_crc32c(~7U, bytes + start, length), ==,
                            ferry_crc32c_portable(~7U, bytes + start, length));
}

static void test_continued(void)
{
    static const char text[] = "the state of a guest at rest";
    uint32_t whole = ferry_crc32c(0, text, strlen(text));
    for (size_t cut = 0; cut <= strlen(text); cut++)
        g_assert_cmphex(ferry_crc32c(ferry_crc32c(0, text, cut), text + cut, strlen(text) - cut),
                        ==, whole);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/crc32c/vectors", test_vectors);
    g_test_add_func("/crc32c/portable", test_portable);
    g_test_add_func("/crc32c/pages", test_pages);
    g_test_add_func("/crc32c/continued", test_continued);
    return g_test_run();
}
