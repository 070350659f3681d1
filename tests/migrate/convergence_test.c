// SPDX-License-Identifier: GPL-2.0-or-later
// When passes help and when they do not, with guests that are computed: a working set, a rate of
// change, a storage, and QEMU's way of throttling.
#include "migrate/convergence.h"

#include <string.h>

#define MB 1000000.0

enum { STEP_MS = 100, LIMIT_MS = 300 * 1000 };

typedef struct {
    double ram, working_set, dirty, storage; // bytes, bytes/s
    unsigned max_throttle, throttle_step, throttle_every_ms;
    double shrinks; // the working set, by this part with each pass
} Guest;

typedef struct {
    FerryConvergence convergence;
    int64_t stall_ms, vain_ms, bound_ms; // when it was said, when the bound was reached; 0 = never
    bool ended;                          // the rest fits 10 ms
} Outcome;

static void run(const Guest *guest, Outcome *outcome)
{
    *outcome = (Outcome){.convergence = {.max_throttle = guest->max_throttle}};
    double sent = 0, left = guest->ram, changed = 0, set = guest->working_set;
    FerrySample sample = {.passes = 1, .ram_bytes = (uint64_t)guest->ram};
    for (int64_t now_ms = STEP_MS; now_ms < LIMIT_MS && !outcome->vain_ms; now_ms++) {
        double dirty = guest->dirty * (1 - sample.throttle / 100.0);
        double part = MIN(guest->storage / 1000, left);
        sent += part;
        left -= part;
        changed = MIN(changed + dirty / 1000, set);
        if (left <= 0) {
            set -= set * guest->shrinks;
            left = changed;
            changed = 0;
            sample.passes++;
            outcome->ended = left < guest->storage / 100;
            if (outcome->ended)
                return;
        }
        unsigned steps = guest->throttle_every_ms ? (unsigned)now_ms / guest->throttle_every_ms : 0;
        sample.throttle = MIN(steps * guest->throttle_step, guest->max_throttle);
        if (!outcome->bound_ms && sample.throttle == guest->max_throttle)
            outcome->bound_ms = now_ms;
        if (now_ms % STEP_MS)
            continue;
        sample.at_ms = now_ms;
        sample.sent_bytes = (uint64_t)sent;
        sample.dirty_rate = (uint64_t)dirty;
        FerryPasses passes = ferry_convergence_feed(&outcome->convergence, &sample);
        if (passes == FERRY_PASSES_STALL && !outcome->stall_ms)
            outcome->stall_ms = now_ms;
        if (passes == FERRY_PASSES_VAIN)
            outcome->vain_ms = now_ms;
    }
}

static void test_quiet(void)
{
    Outcome outcome;
    run(&(Guest){.ram = 4096 * MB, .working_set = 500 * MB, .dirty = 10 * MB, .storage = 125 * MB},
        &outcome);
    g_assert_true(outcome.ended);
    g_assert_cmpint(outcome.vain_ms, ==, 0);
}

// It converges, but slowly: each pass leaves 8/10 of the one before.
static void test_slow(void)
{
    Outcome outcome;
    run(&(Guest){.ram = 2048 * MB, .working_set = 2048 * MB, .dirty = 80 * MB, .storage = 100 * MB},
        &outcome);
    g_assert_true(outcome.ended);
    g_assert_cmpint(outcome.vain_ms, ==, 0);
}

static void test_never_throttled(void)
{
    Outcome outcome;
    run(&(Guest){.ram = 512 * MB, .working_set = 64 * MB, .dirty = 2000 * MB,
                 .storage = 1000 * MB},
        &outcome);
    g_assert_false(outcome.ended);
    g_assert_cmpint(outcome.stall_ms, >, 0);
    g_assert_cmpint(outcome.stall_ms, <, outcome.vain_ms);
    g_assert_cmpint(outcome.vain_ms, <, 5000);
    g_assert_cmpuint(outcome.convergence.pass_bytes / 1000000, >=, 56);
    g_assert_cmpuint(outcome.convergence.pass_bytes / 1000000, <=, 72);
    g_assert_cmpuint(outcome.convergence.rate / 10000000, ==, 100);
}

// The guest is made slower up to the bound before anything is given up.
static void test_throttled(void)
{
    Outcome outcome;
    run(&(Guest){.ram = 512 * MB, .working_set = 64 * MB, .dirty = 9000 * MB,
                 .storage = 500 * MB, .max_throttle = 80, .throttle_step = 20,
                 .throttle_every_ms = 2500},
        &outcome);
    g_assert_cmpint(outcome.bound_ms, ==, 10000);
    g_assert_cmpint(outcome.vain_ms, >, outcome.bound_ms + 2000);
    g_assert_cmpint(outcome.vain_ms, <, outcome.bound_ms + 5000);
}

static void test_throttling_helps(void)
{
    Outcome outcome;
    run(&(Guest){.ram = 512 * MB, .working_set = 256 * MB, .dirty = 300 * MB,
                 .storage = 100 * MB, .max_throttle = 80, .throttle_step = 20,
                 .throttle_every_ms = 4000},
        &outcome);
    g_assert_true(outcome.ended);
    g_assert_cmpint(outcome.vain_ms, ==, 0);
}

// QEMU throttles a guest only that changes more than half of what was sent meanwhile.
static void test_throttle_never_comes(void)
{
    Outcome outcome;
    run(&(Guest){.ram = 512 * MB, .working_set = 64 * MB, .dirty = 2000 * MB,
                 .storage = 1000 * MB, .max_throttle = 80},
        &outcome);
    g_assert_cmpint(outcome.vain_ms, >, 5000);
    g_assert_cmpint(outcome.vain_ms, <, 8000);
}

// Passes of several seconds: what three of them say counts, not the clock alone.
static void test_long_passes(void)
{
    Outcome outcome;
    run(&(Guest){.ram = 400 * MB, .working_set = 100 * MB, .dirty = 200 * MB, .storage = 25 * MB},
        &outcome);
    g_assert_cmpuint(outcome.convergence.last.passes, >=, 5);
    g_assert_cmpint(outcome.vain_ms, >, 16000 + 4 * 4000); // all memory, then passes of 4 s
    g_assert_cmpint(outcome.vain_ms, <, 16000 + 8 * 4000);
}

// A little progress with each pass does not go on for ever.
static void test_out_of_time(void)
{
    Outcome outcome;
    run(&(Guest){.ram = 1000 * MB, .working_set = 1000 * MB, .dirty = 9000 * MB,
                 .storage = 100 * MB, .shrinks = 0.11},
        &outcome);
    g_assert_false(outcome.ended);
    g_assert_cmpint(outcome.vain_ms, >, 70000); // 30 s, and all memory four times
    g_assert_cmpint(outcome.vain_ms, <, 71000);
}

// Nothing is sent, nothing ends: that is no reason to pause a guest, its storage hangs.
static void test_hanging_storage(void)
{
    FerryConvergence convergence = {0};
    FerrySample sample = {.passes = 4, .ram_bytes = 1 << 30, .dirty_rate = 1 << 20};
    for (int i = 0; i < 6000; i++) {
        sample.at_ms += STEP_MS;
        g_assert_cmpint(ferry_convergence_feed(&convergence, &sample), ==, FERRY_PASSES_HELP);
    }
}

static void test_describe(void)
{
    FerryConvergence convergence = {.last = {.dirty_rate = 200 * 1000 * 1000, .throttle = 80},
                                    .rate = 125 * 1000 * 1000,
                                    .pass_bytes = 64 * 1000 * 1000};
    g_autofree char *text = ferry_convergence_describe(&convergence);
    g_assert_nonnull(strstr(text, "at least 200 MB/s"));
    g_assert_nonnull(strstr(text, "125 MB/s"));
    g_assert_nonnull(strstr(text, "64 MB are left"));
    g_assert_nonnull(strstr(text, "80 %"));
    convergence.last.throttle = 0;
    g_autofree char *unthrottled = ferry_convergence_describe(&convergence);
    g_assert_null(strstr(unthrottled, "%"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/convergence/quiet", test_quiet);
    g_test_add_func("/convergence/slow", test_slow);
    g_test_add_func("/convergence/never-throttled", test_never_throttled);
    g_test_add_func("/convergence/throttled", test_throttled);
    g_test_add_func("/convergence/throttling-helps", test_throttling_helps);
    g_test_add_func("/convergence/throttle-never-comes", test_throttle_never_comes);
    g_test_add_func("/convergence/long-passes", test_long_passes);
    g_test_add_func("/convergence/out-of-time", test_out_of_time);
    g_test_add_func("/convergence/hanging-storage", test_hanging_storage);
    g_test_add_func("/convergence/describe", test_describe);
    return g_test_run();
}
