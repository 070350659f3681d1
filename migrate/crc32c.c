// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/crc32c.h"

#include <glib.h>
#include <string.h>

static uint32_t table[256];

static void make_table(void)
{
    static gsize made;
    if (!g_once_init_enter(&made))
        return;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? (crc >> 1) ^ 0x82F63B78U : crc >> 1;
        table[i] = crc;
    }
    g_once_init_leave(&made, 1);
}

uint32_t ferry_crc32c_portable(uint32_t crc, const void *data, size_t length)
{
    const uint8_t *byte = data;
    make_table();
    crc = ~crc;
    for (size_t i = 0; i < length; i++)
        crc = (crc >> 8) ^ table[(crc ^ byte[i]) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_sse42(uint32_t crc, const uint8_t *data,
                                                            size_t length)
{
    uint64_t state = ~crc;
    for (; length >= 8; data += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        state = __builtin_ia32_crc32di(state, word);
    }
    uint32_t rest = (uint32_t)state;
    for (; length > 0; data++, length--)
        rest = __builtin_ia32_crc32qi(rest, *data);
    return ~rest;
}
#endif

uint32_t ferry_crc32c(uint32_t crc, const void *data, size_t length)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return by_sse42(crc, data, length);
#endif
    return ferry_crc32c_portable(crc, data, length);
}
