// SPDX-License-Identifier: GPL-2.0-or-later
// The one source of chance of a schedule: xorshift64*, seeded through splitmix64. The same seed
// gives the same schedule on every machine. https://prng.di.unimi.it/ (splitmix64), G. Marsaglia,
// "Xorshift RNGs", 2003
#pragma once

#include <stdbool.h>
#include <stdint.h>

extern uint64_t sim_random_state;

static inline void sim_seed(uint64_t seed)
{
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    sim_random_state = (z ^ (z >> 31)) | 1;
}

static inline uint64_t sim_random(void)
{
    uint64_t x = sim_random_state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    sim_random_state = x;
    return x * UINT64_C(2685821657736338717);
}

// 0 to LIMIT - 1.
static inline unsigned sim_below(unsigned limit)
{
    return (unsigned)(((sim_random() >> 32) * limit) >> 32);
}

static inline bool sim_chance(unsigned permille)
{
    return sim_below(1000) < permille;
}
