// SPDX-License-Identifier: GPL-2.0-or-later
// Forecasts of the blackout, what moves teach, and the downtime limit.
#include "migrate/forecast.h"

#include <glib.h>
#include <math.h>

static const FerryOverhead nothing;
static const FerryOverhead learnt = {.moves = 5, .mean_ms = 30, .spread_ms = 2};

#define NEAR(value, expected) g_assert_cmpfloat_with_epsilon(value, expected, 0.01)

// No sample came before the pause: half the limit, and what is usual.
static void test_nothing_known(void)
{
    FerryForecast forecast = ferry_forecast(&(FerryRest){.limit_ms = 10}, &nothing);
    NEAR(forecast.ms, 45);
    g_assert_cmpfloat(forecast.margin_ms, >, 20);
}

static void test_learnt(void)
{
    FerryForecast forecast = ferry_forecast(&(FerryRest){.limit_ms = 10}, &learnt);
    NEAR(forecast.ms, 35);
    NEAR(forecast.margin_ms, 2.5 + 4);
}

// QEMU does not begin a last pass that is longer than its limit, unless it has to.
static void test_rest(void)
{
    FerryRest rest = {.rest_bytes = 64000000, .rate = 100000000, .limit_ms = 10};
    NEAR(ferry_forecast(&rest, &learnt).ms, 10 + 30);
    rest.forced = true;
    NEAR(ferry_forecast(&rest, &learnt).ms, 640 + 30);
    NEAR(ferry_forecast(&rest, &learnt).margin_ms, 320 + 4);
    rest.rest_bytes = 100000;
    NEAR(ferry_forecast(&rest, &learnt).ms, 1 + 30);
}

// What the saver holds has to reach the storage, too.
static void test_pending(void)
{
    FerryRest rest = {
        .rest_bytes = 100000, .pending_bytes = 16 << 20, .rate = 125000000, .limit_ms = 10};
    NEAR(ferry_forecast(&rest, &learnt).ms, 0.8 + 134.22 + 30);
}

// A load of all pages counts where no earlier move has told; then it is in what was learnt.
static void test_eager(void)
{
    FerryRest rest = {
        .rest_bytes = 100000, .load_bytes = 200000000, .rate = 100000000, .limit_ms = 10};
    NEAR(ferry_forecast(&rest, &nothing).ms, 1 + 2000 + 40);
    g_assert_cmpfloat(ferry_forecast(&rest, &nothing).margin_ms, >, 1000);
    NEAR(ferry_forecast(&rest, &learnt).ms, 1 + 30);
}

static void test_learning(void)
{
    FerryRest rest = {.rest_bytes = 500000, .rate = 100000000, .limit_ms = 10};
    FerryOverhead overhead = {0};
    ferry_overhead_learn(&overhead, &rest, 65);
    g_assert_cmpuint(overhead.moves, ==, 1);
    NEAR(overhead.mean_ms, 50); // between what is usual, 40 ms, and 60
    NEAR(overhead.spread_ms, 17.5);
    double margin = ferry_forecast(&rest, &overhead).margin_ms;
    for (int i = 0; i < 20; i++)
        ferry_overhead_learn(&overhead, &rest, 45);
    g_assert_cmpfloat(fabs(overhead.mean_ms - 40), <, 1);
    g_assert_cmpfloat(ferry_forecast(&rest, &overhead).margin_ms, <, margin / 3);
    double mean = overhead.mean_ms;
    ferry_overhead_learn(&overhead, &rest, 3000); // one that was far off, and does not say much
    g_assert_cmpfloat(overhead.mean_ms, <, mean + 5);
    for (int i = 0; i < 20; i++)
        ferry_overhead_learn(&overhead, &rest, 305);
    g_assert_cmpfloat(fabs(overhead.mean_ms - 300), <, 5); // but what is so from now on is learnt
    for (int i = 0; i < 20; i++)
        ferry_overhead_learn(&overhead, &rest, i % 2 ? 25 : 65);
    g_assert_cmpfloat(overhead.spread_ms, >, 15);
    ferry_overhead_learn(&overhead, &(FerryRest){.limit_ms = 1000}, 50); // shorter than the rest
    g_assert_cmpfloat(overhead.mean_ms, >=, 0);
}

static void test_limit(void)
{
    FerryRest rest = {.rate = 100000000};
    g_assert_cmpuint(ferry_downtime_limit(100, &rest, &learnt, false), ==, 10);
    g_assert_cmpuint(ferry_downtime_limit(100, &rest, &learnt, true), ==, 70);
    g_assert_cmpuint(ferry_downtime_limit(100, &rest, &nothing, true), ==, 60);
    g_assert_cmpuint(ferry_downtime_limit(1000, &rest, &learnt, false), ==, 100);
    rest.pending_bytes = 5000000;
    g_assert_cmpuint(ferry_downtime_limit(100, &rest, &learnt, true), ==, 20);
    rest.pending_bytes = 500000000;
    g_assert_cmpuint(ferry_downtime_limit(100, &rest, &learnt, true), ==, 10);
    g_assert_cmpuint(ferry_downtime_limit(20, &rest, &learnt, true), ==, 5);
    g_assert_cmpuint(ferry_downtime_limit(1, &rest, &learnt, false), ==, 1);
}

static const uint64_t mb = 1000 * 1000;

static void test_save_speed(void)
{
    FerrySaveSpeed speed = {0};
    g_assert_cmpuint(ferry_save_least_ms(&speed, 5000, 0), ==, 0);
    ferry_save_sample(&speed, 1000, 60000 * mb, 0);
    g_assert_cmpuint(ferry_save_least_ms(&speed, 1000, 0), ==, 0); // one sample tells no speed
    ferry_save_sample(&speed, 1500, 59950 * mb, 50 * mb);
    ferry_save_sample(&speed, 2000, 59900 * mb, 100 * mb);
    g_assert_cmpuint(ferry_save_least_ms(&speed, 2000, 0), ==, 599000);
    g_assert_cmpuint(ferry_save_least_ms(&speed, 12000, 0), ==, 589000);
    g_assert_cmpuint(ferry_save_least_ms(&speed, 700000, 0), ==, 0);
    // Storage that hangs for a while is not slower for it: it may come back.
    ferry_save_sample(&speed, 12000, 59900 * mb, 100 * mb);
    g_assert_cmpuint(ferry_save_least_ms(&speed, 12000, 0), ==, 599000);
    // One that became faster does not go back on it, either.
    ferry_save_sample(&speed, 13000, 58900 * mb, 1100 * mb);
    ferry_save_sample(&speed, 14000, 58800 * mb, 1200 * mb);
    g_assert_cmpuint(ferry_save_least_ms(&speed, 14000, 0), ==, 58800);
}

static void test_save_of_few_pages(void)
{
    FerrySaveSpeed speed = {0};
    ferry_save_sample(&speed, 1000, 60000 * mb, 0);
    ferry_save_sample(&speed, 2000, 59900 * mb, 100 * mb);
    // Only 2 GB of its 60 are in memory at all.
    g_assert_cmpuint(ferry_save_least_ms(&speed, 2000, 2100 * mb), ==, 20000);
    g_assert_cmpuint(ferry_save_least_ms(&speed, 2000, 50 * mb), ==, 0);
    // The next pass begins with what was changed meanwhile: that is no negative speed.
    ferry_save_sample(&speed, 3000, 59990 * mb, 110 * mb);
    g_assert_cmpuint(ferry_save_least_ms(&speed, 3000, 0), ==, 599900);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/forecast/nothing-known", test_nothing_known);
    g_test_add_func("/forecast/learnt", test_learnt);
    g_test_add_func("/forecast/rest", test_rest);
    g_test_add_func("/forecast/pending", test_pending);
    g_test_add_func("/forecast/eager", test_eager);
    g_test_add_func("/forecast/learning", test_learning);
    g_test_add_func("/forecast/limit", test_limit);
    g_test_add_func("/forecast/save-speed", test_save_speed);
    g_test_add_func("/forecast/save-of-few-pages", test_save_of_few_pages);
    return g_test_run();
}
