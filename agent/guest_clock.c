// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/guest_clock.h"

#include "agent/qga.h"

#include <inttypes.h>
#include <stdbool.h>

#define US_PER_MS ((int64_t)1000)
#define NS_PER_US ((int64_t)1000)

enum {
    SHARP_MS = 5,           // with a way as short as this no other sample is needed
    AHEAD_LIMIT_MS = 2000,  // of a step, for its way to the guest
};

unsigned guest_clock_patience_ms = GUEST_CLOCK_TOTAL_MS;
unsigned guest_clock_rest_ms = GUEST_CLOCK_REST_MS;

struct GuestClock {
    Qga *qga;
    guint timer; // its patience
    guint rest;
    GuestClockFn done;
    gpointer data;
    GuestClockResult now;
    unsigned samples;        // of this measurement
    int64_t asked_us;        // monotonic
    int64_t ahead_us;        // what a step adds for its way
    GError *refusal;         // what the guest said to the last step; it may have been done all the same
    int64_t before_step_us;  // guest's time - node's
    bool rested;             // since the last step
};

static void measure(GuestClock *clock);

static void finish(GuestClock *clock, const GError *error)
{
    clock->done(error == NULL ? &clock->now : NULL, error, clock->data);
}

static gboolean out_of_patience(gpointer data)
{
    GuestClock *clock = data;
    clock->timer = 0;
    g_autoptr(GError) error =
        g_error_new(AGENT_ERROR, AGENT_ERROR_TIMEOUT,
                    "the guest agent answers so slowly that it was not done within %u s",
                    guest_clock_patience_ms / 1000);
    finish(clock, error);
    return G_SOURCE_REMOVE;
}

// --- a step ---

// The real agent sets the time, and then complains where it cannot set the hardware's clock: what
// counts is what it says its time is.
static void step_answered(const json_t *value, const GError *error, gpointer data)
{
    (void)value;
    GuestClock *clock = data;
    if (error != NULL && !g_error_matches(error, AGENT_ERROR, AGENT_ERROR_REFUSED)) {
        finish(clock, error);
        return;
    }
    g_clear_error(&clock->refusal);
    clock->refusal = error != NULL ? g_error_copy(error) : NULL;
    measure(clock);
}

// The first step of two goes by what was measured, the second by what became of the first.
static bool begins_two(const GuestClock *clock)
{
    return clock->now.steps % 2 == 0;
}

static void step(GuestClock *clock)
{
    int64_t way_us = begins_two(clock) ? clock->now.round_trip_us / 2
                                       : clock->ahead_us - clock->now.after_us;
    clock->rested = false;
    clock->ahead_us = CLAMP(way_us, 0, AHEAD_LIMIT_MS * US_PER_MS);
    clock->before_step_us = clock->now.after_us;
    clock->now.steps++;
    int64_t time_ns = (g_get_real_time() + clock->ahead_us) * NS_PER_US;
    qga_ask(clock->qga, "guest-set-time", json_pack("{s:I}", "time", (json_int_t)time_ns),
            step_answered, clock);
}

// --- a rest ---

// Two steps go wrong where the guest or its node is so busy that no way takes as long as the one before,
// as right after a move, when the guest waits for its memory.
static gboolean rested(gpointer data)
{
    GuestClock *clock = data;
    clock->rest = 0;
    clock->rested = true;
    measure(clock);
    return G_SOURCE_REMOVE;
}

// 1, 3, 9 times the first, and then 9 times again and again.
static void rest(GuestClock *clock)
{
    unsigned ms = guest_clock_rest_ms;
    for (unsigned steps = 2; steps < MIN(clock->now.steps, 6); steps += 2)
        ms *= 3;
    clock->rest = g_timeout_add(ms, rested, clock);
}

// --- what is to be done ---

static GError *is_ahead(const GuestClock *clock)
{
    return g_error_new(AGENT_ERROR, AGENT_ERROR_CONFLICT,
                       "its clock is %" PRId64 " ms ahead of the node's, which no stop has done; a "
                       "clock is not set back by more than %d ms. Compare the nodes' clocks (vmferry "
                       "doctor), and look what sets the guest's",
                       clock->now.after_us / US_PER_MS, GUEST_CLOCK_BACK_MS);
}

static GError *is_still_off(const GuestClock *clock)
{
    return g_error_new(AGENT_ERROR, AGENT_ERROR_FAILED,
                       "its clock is still %" PRId64 " ms off (measured within %" PRId64 " ms) after it was "
                       "set %u times; is the guest too busy, or does something else in it set its clock?",
                       ABS(clock->now.after_us) / US_PER_MS, clock->now.round_trip_us / 2 / US_PER_MS,
                       clock->now.steps);
}

static bool step_was_in_vain(const GuestClock *clock)
{
    return clock->refusal != NULL &&
           ABS(clock->now.after_us) >= ABS(clock->before_step_us) / 2;
}

// A step may well make it worse than it is here.
static bool is_right(const GuestClock *clock)
{
    int64_t off_ms = clock->now.after_us / US_PER_MS;
    bool leave = clock->now.steps == 0 ? off_ms > 0 : begins_two(clock);
    return ABS(off_ms) <= GUEST_CLOCK_CLOSE_MS ||
           (leave && ABS(off_ms) <= GUEST_CLOCK_RIGHT_MS);
}

static void decide(GuestClock *clock)
{
    bool first = clock->now.steps == 0;
    g_autoptr(GError) error = NULL;
    if (first)
        clock->now.before_us = clock->now.after_us;
    if (is_right(clock)) {
        finish(clock, NULL);
    } else if (first && clock->now.after_us / US_PER_MS > GUEST_CLOCK_BACK_MS) {
        error = is_ahead(clock);
        finish(clock, error);
    } else if (step_was_in_vain(clock)) {
        finish(clock, clock->refusal);
    } else if (first || clock->rested || !begins_two(clock)) {
        step(clock);
    } else if (clock->now.steps < GUEST_CLOCK_STEPS) {
        rest(clock);
    } else {
        error = is_still_off(clock);
        finish(clock, error);
    }
}

// --- measuring ---

static void ask_time(GuestClock *clock);

static GError *no_time(void)
{
    return g_error_new(AGENT_ERROR, AGENT_ERROR_FAILED,
                       "the guest agent answers guest-get-time with what is no time; is it "
                       "qemu-guest-agent that runs in the guest?");
}

// Nanoseconds since 1970; nothing else can come near the limits.
static bool is_time(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static void sample(GuestClock *clock, int64_t guest_us)
{
    int64_t trip_us = g_get_monotonic_time() - clock->asked_us;
    if (clock->samples++ > 0 && trip_us >= clock->now.round_trip_us)
        return;
    clock->now.round_trip_us = trip_us;
    clock->now.after_us = guest_us - (g_get_real_time() - trip_us / 2);
}

static void time_told(const json_t *value, const GError *error, gpointer data)
{
    GuestClock *clock = data;
    if (error != NULL || !is_time(value)) {
        g_autoptr(GError) nonsense = error == NULL ? no_time() : NULL;
        finish(clock, error != NULL ? error : nonsense);
        return;
    }
    sample(clock, json_integer_value(value) / NS_PER_US);
    if (clock->samples < GUEST_CLOCK_SAMPLES &&
        clock->now.round_trip_us > SHARP_MS * US_PER_MS)
        ask_time(clock);
    else
        decide(clock);
}

static void ask_time(GuestClock *clock)
{
    clock->asked_us = g_get_monotonic_time();
    qga_ask(clock->qga, "guest-get-time", NULL, time_told, clock);
}

static void measure(GuestClock *clock)
{
    clock->samples = 0;
    ask_time(clock);
}

static void synced(const json_t *value, const GError *error, gpointer data)
{
    (void)value;
    GuestClock *clock = data;
    if (error != NULL)
        finish(clock, error);
    else
        measure(clock);
}

GuestClock *guest_clock_set(const char *path, GuestClockFn done, gpointer data, GError **error)
{
    g_autofree GuestClock *clock = g_new0(GuestClock, 1);
    *clock = (GuestClock){.done = done, .data = data};
    clock->qga = qga_open(path, synced, clock, error);
    if (clock->qga == NULL)
        return NULL;
    clock->timer = g_timeout_add(guest_clock_patience_ms, out_of_patience, clock);
    return g_steal_pointer(&clock);
}

void guest_clock_free(GuestClock *clock)
{
    if (clock == NULL)
        return;
    g_clear_handle_id(&clock->timer, g_source_remove);
    g_clear_handle_id(&clock->rest, g_source_remove);
    qga_free(clock->qga);
    g_clear_error(&clock->refusal);
    g_free(clock);
}
