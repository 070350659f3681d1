// SPDX-License-Identifier: GPL-2.0-or-later
// Random numbers, checksums and clocks of the test guest.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define MIX 0x9e3779b97f4a7c15ULL

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static inline uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

// xoshiro256+ of Blackman and Vigna, seeded by splitmix64.
typedef struct {
    uint64_t s[4];
} Random;

static inline Random random_seeded(uint64_t seed)
{
    Random random;
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += MIX;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
        random.s[i] = z ^ z >> 31;
    }
    return random;
}

static inline uint64_t random_next(Random *random)
{
    uint64_t *s = random->s;
    uint64_t result = s[0] + s[3];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

static inline void random_words(Random *random, uint64_t *words, size_t count)
{
    Random local = *random; // words could alias *random: a copy stays in registers
    for (size_t i = 0; i < count; i++)
        words[i] = random_next(&local);
    *random = local;
}

// One step of a checksum. Order matters: a page in another one's place changes the sum.
static inline uint64_t checksum_step(uint64_t sum, uint64_t word)
{
    return rotate((sum ^ word) * MIX, 29);
}

static inline uint64_t checksum(const uint64_t *words, size_t count)
{
    uint64_t sum = count;
    for (size_t i = 0; i < count; i++)
        sum = checksum_step(sum, words[i]);
    return sum;
}
