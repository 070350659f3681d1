// SPDX-License-Identifier: GPL-2.0-or-later
// Memory is read in objects of 64 KiB: three of four come from one eighth of them, which lies
// scattered over the whole, the fourth from all. Writes go to single pages anywhere. A page's first
// word counts how often it was written, and the other words are its first content turned by that
// count: so it always differs from what it was, never gets compressible, and can still be checked.
// Where much is computed for each word, the rate is that of the CPU: reading alone went at a quarter of its
// speed while another tenant of the machine used the memory.
#include "work.h"

#include <stdatomic.h>

#include "numbers.h"

#include <sched.h>
#include <sys/resource.h>

enum { OBJECT_PAGES = 16, HOT_PART = 8, HOT_IN_4 = 3 };
#define SCATTER 2654435761ULL // a prime: index * SCATTER % count meets each object once
#define LONGEST_DEBT 0.1      // seconds: what could not be written by then is not caught up

static atomic_bool wanted;
static atomic_ulong dirty_rate;
static atomic_uint rounds; // of computing for each word
static atomic_ullong pages_read;
static volatile uint64_t sink; // what was computed was computed for something

// These belong to the loop, and to others while it stands still; under filled.lock.
static uint64_t generation;
static uint64_t pages_written;
static double owed;
static uint64_t paid_at;

uint64_t work_done(void)
{
    return pages_read;
}

static uint64_t turn(uint64_t version)
{
    return rotate(version * MIX, 17);
}

static void write_page(uint64_t *page)
{
    uint64_t change = turn(page[0]) ^ turn(page[0] + 1);
    for (int i = 1; i < WORDS; i++)
        page[i] ^= change;
    page[0]++;
    pages_written++;
}

static uint64_t read_page(const uint64_t *page)
{
    uint64_t sum = 0;
    unsigned most = rounds;
    for (int i = 0; i < WORDS; i++) {
        sum += page[i];
        for (unsigned round = 0; round < most; round++)
            sum = (sum ^ sum >> 29) * MIX;
    }
    return sum;
}

static void read_object(Random *random)
{
    uint64_t objects = filled.bytes / (OBJECT_PAGES * PAGE), choice = random_next(random) >> 8;
    bool hot = choice % 4 < HOT_IN_4;
    uint64_t object = choice / 4 % (hot ? objects / HOT_PART : objects) * SCATTER % objects;
    const uint64_t *page = filled.words + object * OBJECT_PAGES * WORDS;
    for (int i = 0; i < OBJECT_PAGES; i++, page += WORDS) {
        sink += read_page(page);
        pages_read++;
    }
}

static void write_pages(Random *random)
{
    double rate = (double)dirty_rate * 1e6 / PAGE;
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    owed += (double)(now - paid_at) / 1e9 * rate;
    paid_at = now;
    if (owed > rate * LONGEST_DEBT)
        owed = rate * LONGEST_DEBT;
    for (; owed >= 1; owed--)
        write_page(filled.words + (random_next(random) >> 8) % (filled.bytes / PAGE) * WORDS);
}

static void *work(void *seed)
{
    setpriority(PRIO_PROCESS, 0, 19); // answers come first
    Random random = random_seeded(*(uint64_t *)seed);
    for (;;) {
        pthread_mutex_lock(&filled.lock);
        bool on = wanted && filled.bytes;
        if (on) {
            read_object(&random);
            write_pages(&random);
        }
        pthread_mutex_unlock(&filled.lock);
        if (!on)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return NULL;
}

// Under the lock.
static bool start_loop(uint64_t seed)
{
    static uint64_t kept;
    static pthread_t thread;
    if (kept)
        return true;
    kept = seed + 2;
    if (pthread_create(&thread, NULL, work, &kept))
        kept = 0;
    return kept != 0;
}

// Under the lock. No page was written yet.
static void begin_counting(void)
{
    if (generation == filled.generation)
        return;
    for (size_t i = 0; i < filled.bytes / sizeof(uint64_t); i += WORDS)
        filled.words[i] = 0;
    generation = filled.generation;
    pages_written = 0;
}

bool work_start(uint64_t seed, unsigned long rate, unsigned compute)
{
    pthread_mutex_lock(&filled.lock);
    bool done = filled.bytes >= (size_t)HOT_PART * OBJECT_PAGES * PAGE && start_loop(seed);
    if (done) {
        begin_counting();
        owed = 0;
        paid_at = clock_ns(CLOCK_MONOTONIC);
        dirty_rate = rate;
        rounds = compute;
        wanted = true;
    }
    pthread_mutex_unlock(&filled.lock);
    return done;
}

void work_stop(void)
{
    pthread_mutex_lock(&filled.lock);
    wanted = false;
    pthread_mutex_unlock(&filled.lock);
}

WorkCheck work_check(void)
{
    pthread_mutex_lock(&filled.lock);
    WorkCheck check = {.sum = filled.bytes, .writes = pages_written};
    for (size_t at = 0; at < filled.bytes / sizeof(uint64_t); at += WORDS) {
        const uint64_t *page = filled.words + at;
        uint64_t turned = turn(page[0]), sum = check.sum;
        check.found += page[0];
        for (int i = 1; i < WORDS; i++)
            sum = checksum_step(sum, page[i] ^ turned);
        check.sum = sum;
    }
    pthread_mutex_unlock(&filled.lock);
    return check;
}
