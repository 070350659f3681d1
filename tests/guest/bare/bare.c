// SPDX-License-Identifier: GPL-2.0-or-later
// A guest without an operating system, for benchmarks: what it needs after a move is next to
// nothing, so that what the outside sees is the move. Under TCG a kernel has some 4,000 pieces of
// code translated before it answers for the first time in a new QEMU.
//
// Answers questions of echo.h by UDP on port 7777, and requests that are shorter than these, one at
// a time and with nothing else meanwhile:
//
//   fill MIB   ok; that much memory with incompressible data
//   compute    ok; reads pages of it, in no order, from now on; its progress is in the answers
//   worksum    worksum HEX, of all filled memory; ends the work
//   (any)      err TEXT
#include "../echo.h"
#include "../numbers.h"
#include "machine.h"
#include "net.h"

enum { PORT = 7777, QUESTION_BYTES = 16, PAGE_WORDS = 512, TICK_NS = 1000000 };

static Memory memories[MOST_MEMORIES];
static unsigned n_memories;
static uint64_t filled; // words
static int working;
static uint64_t work, counter, boot, longest_gap;
static Random random;

// --- memory ---

// The word at AT of all memory that is free; a page is in one piece.
static uint64_t *word(uint64_t at)
{
    unsigned i = 0;
    while (at >= memories[i].count)
        at -= memories[i++].count;
    return memories[i].words + at;
}

static int fill(uint64_t words)
{
    uint64_t free_words = 0;
    for (unsigned i = 0; i < n_memories; i++)
        free_words += memories[i].count;
    if (words == 0 || words > free_words)
        return 0;
    filled = words / PAGE_WORDS * PAGE_WORDS;
    for (uint64_t at = 0; at < filled; at += PAGE_WORDS)
        random_words(&random, word(at), PAGE_WORDS);
    return 1;
}

static uint64_t sum_all(void)
{
    uint64_t sum = 0;
    for (uint64_t at = 0; at < filled; at += PAGE_WORDS)
        sum = checksum_step(sum, checksum(word(at), PAGE_WORDS));
    return sum;
}

static void do_some(void)
{
    static volatile uint64_t result;
    uint64_t page = random_next(&random) % (filled / PAGE_WORDS);
    result += checksum(word(page * PAGE_WORDS), PAGE_WORDS);
    work++;
}

// --- answers ---

static size_t say(uint8_t *answer, const char *text)
{
    size_t n = 0;
    while (text[n] != '\0') {
        answer[n] = (uint8_t)text[n];
        n++;
    }
    return n;
}

static size_t say_sum(uint8_t *answer, uint64_t sum)
{
    size_t n = say(answer, "worksum ");
    for (int shift = 60; shift >= 0; shift -= 4)
        answer[n++] = (uint8_t) "0123456789abcdef"[sum >> shift & 15];
    return n;
}

static int is(const uint8_t *request, size_t bytes, const char *word, size_t length)
{
    return bytes >= length && memcmp(request, word, length) == 0;
}

static uint64_t number(const uint8_t *text, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes && text[i] >= '0' && text[i] <= '9'; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    return value;
}

static size_t obey(const uint8_t *request, size_t bytes, uint8_t *answer)
{
    if (is(request, bytes, "fill ", 5))
        return say(answer,
                   fill(number(request + 5, bytes - 5) << 17) ? "ok" : "err no such memory");
    if (is(request, bytes, "compute", 7)) {
        working = filled > 0;
        return say(answer, working ? "ok" : "err nothing is filled");
    }
    if (is(request, bytes, "worksum", 7)) {
        working = 0;
        return say_sum(answer, sum_all());
    }
    return say(answer, "err unknown request");
}

static size_t answer(const uint8_t *question, size_t bytes, uint8_t *to)
{
    if (bytes < QUESTION_BYTES)
        return obey(question, bytes, to);
    EchoAnswer told = {.work = work, .counter = counter, .gap = longest_gap, .boot_id = boot};
    memcpy(&told, question, QUESTION_BYTES);
    told.monotonic = told.realtime = machine_ns();
    longest_gap = 0;
    memcpy(to, &told, sizeof told);
    return sizeof told;
}

// --- running ---

// "guest.ip=A.B.C.D/N"
static int find_address(const char *line, uint8_t address[4])
{
    static const char key[] = "guest.ip=";
    while (*line != '\0' && memcmp(line, key, sizeof key - 1) != 0)
        line++;
    if (*line == '\0')
        return 0;
    line += sizeof key - 1;
    for (unsigned i = 0; i < 4; i++) {
        unsigned value = 0;
        while (*line >= '0' && *line <= '9')
            value = value * 10 + (unsigned)(*line++ - '0');
        address[i] = (uint8_t)value;
        line += *line == '.';
    }
    return 1;
}

// A tick is a millisecond, as in the other guest; the loop goes round much faster.
static void tick(void)
{
    static uint64_t last;
    uint64_t now = machine_ns();
    if (last == 0)
        last = now;
    if (now - last < TICK_NS)
        return;
    if (now - last > longest_gap)
        longest_gap = now - last;
    last = now;
    counter++;
}

void run(const void *info);

void run(const void *info)
{
    uint8_t address[4];
    clock_start();
    n_memories = memory_find(info, memories);
    boot = machine_ns();
    random = random_seeded(boot);
    if (!find_address(command_line(info), address) || !net_start(address, PORT, answer))
        return;
    for (;;) {
        net_look();
        tick();
        if (working)
            do_some();
    }
}
