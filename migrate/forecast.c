// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/forecast.h"

#include <glib.h>
#include <math.h>

enum {
    // Before any move has been measured.
    OVERHEAD_MS = 40,
    OVERHEAD_SPREAD_MS = 15,
    // How much a new move counts, as 1 / N: at first as much as what is usual, in the end as with
    // TCP's round trips. One that is far off counts only as far as OUTLIER spreads.
    LEARN_FIRST = 2,
    LEARN_LAST = 4,
    OUTLIER = 3,
    LEAST_SPREAD_MS = 5, // for that
    SPREADS = 2,         // in a margin
    // Of max_blackout: QEMU begins the last pass as soon as the rest fits its limit, even where
    // another pass would have left next to nothing. So it does not get all at once.
    FIRST_PART = 10,
    LEAST_MS = 5,
    SPEED_OVER_MS = 1000, // a save's speed is taken over that long
};

static double write_ms(uint64_t bytes, uint64_t rate)
{
    return rate > 0 ? (double)bytes * 1000 / (double)rate : 0;
}

// Of the last pass. QEMU begins one that is not forced only when it fits the limit.
static double rest_ms(const FerryRest *rest)
{
    if (rest->rest_bytes == 0 || rest->rate == 0)
        return rest->limit_ms / 2.0;
    double whole = write_ms(rest->rest_bytes, rest->rate);
    return rest->forced ? whole : MIN(whole, (double)rest->limit_ms);
}

static double writing_ms(const FerryRest *rest)
{
    return rest_ms(rest) + write_ms(rest->pending_bytes, rest->rate);
}

static FerryOverhead known(const FerryOverhead *overhead)
{
    return overhead->moves > 0 ? *overhead : (FerryOverhead){0, OVERHEAD_MS, OVERHEAD_SPREAD_MS};
}

FerryForecast ferry_forecast(const FerryRest *rest, const FerryOverhead *overhead)
{
    FerryOverhead besides = known(overhead);
    double load = overhead->moves == 0 ? write_ms(rest->load_bytes, rest->rate) : 0;
    double doubt = rest_ms(rest) / 2;
    double pending_doubt = write_ms(rest->pending_bytes, rest->rate) / 4;
    return (FerryForecast){
        .ms = writing_ms(rest) + besides.mean_ms + load,
        .margin_ms = doubt + pending_doubt + load / 2 + SPREADS * besides.spread_ms,
    };
}

void ferry_overhead_learn(FerryOverhead *overhead, const FerryRest *rest, double blackout_ms)
{
    FerryOverhead before = known(overhead);
    double part = MIN(LEARN_FIRST + overhead->moves, (unsigned)LEARN_LAST);
    double most = OUTLIER * MAX(before.spread_ms, (double)LEAST_SPREAD_MS);
    double besides = MAX(blackout_ms - writing_ms(rest), 0.0);
    double distance = besides - before.mean_ms;
    if (overhead->moves > 0)
        distance = CLAMP(distance, -most, most);
    overhead->mean_ms = before.mean_ms + distance / part;
    overhead->spread_ms = before.spread_ms + (fabs(distance) - before.spread_ms) / part;
    overhead->moves++;
}

unsigned ferry_downtime_limit(unsigned max_blackout_ms, const FerryRest *rest,
                              const FerryOverhead *overhead, bool whole)
{
    double limit = max_blackout_ms / (double)FIRST_PART;
    if (whole)
        limit = MAX(limit, max_blackout_ms - known(overhead).mean_ms -
                               write_ms(rest->pending_bytes, rest->rate));
    return (unsigned)MAX(limit, (double)MIN((unsigned)LEAST_MS, max_blackout_ms));
}

// --- a save's end ---

static uint64_t per_second(uint64_t bytes, int64_t ms)
{
    return bytes * 1000 / (uint64_t)ms;
}

void ferry_save_sample(FerrySaveSpeed *speed, int64_t at_ms, uint64_t left, uint64_t sent)
{
    int64_t ms = at_ms - speed->mark_ms;
    speed->at_ms = at_ms;
    speed->left = left;
    speed->sent = sent;
    if (speed->mark_ms != 0 && ms < SPEED_OVER_MS)
        return;
    if (speed->mark_ms != 0) {
        if (left < speed->mark_left) // else another pass has begun
            speed->done_speed = MAX(speed->done_speed, per_second(speed->mark_left - left, ms));
        if (sent > speed->mark_sent)
            speed->sent_speed = MAX(speed->sent_speed, per_second(sent - speed->mark_sent, ms));
    }
    speed->mark_ms = at_ms;
    speed->mark_left = left;
    speed->mark_sent = sent;
}

unsigned ferry_save_least_ms(const FerrySaveSpeed *speed, int64_t now_ms, uint64_t resident)
{
    if (speed->done_speed == 0)
        return 0;
    uint64_t ms = speed->left * 1000 / speed->done_speed;
    uint64_t to_write = resident > speed->sent ? resident - speed->sent : 0;
    if (resident != 0 && speed->sent_speed != 0)
        ms = MIN(ms, to_write * 1000 / speed->sent_speed);
    uint64_t since = (uint64_t)MAX(now_ms - speed->at_ms, 0);
    return ms > since ? (unsigned)MIN(ms - since, UINT_MAX) : 0;
}
