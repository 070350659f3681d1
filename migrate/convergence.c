// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/convergence.h"

enum {
    MARK_MS = 1000,
    CLOSE_MS = 500, // several fast passes together: samples do not come at their ends
    MIN_PASSES = 3,       // the first goes over everything, the second over what it let change
    SMALLER_PERCENT = 90, // of the smallest pass so far: less than that is progress
    STALL_PASSES = 2,
    STALL_MS = 500,
    VAIN_PASSES = 3,
    VAIN_MS = 2000,          // and that with the guest as slow as it may be made;
    VAIN_THROTTLE_MS = 5000, // before, QEMU needs two looks, a second or a pass apart, for a step
    VAIN_EXTRA_PASSES = 3,   // and where a pass takes long
    LIMIT_PASSES = 4,        // and the time for as many passes over all memory
};

static uint64_t per_second(uint64_t bytes, int64_t ms)
{
    return ms > 0 ? bytes * 1000 / (uint64_t)ms : 0;
}

static uint64_t sent_since(const FerrySample *sample, const FerrySample *before)
{
    return sample->sent_bytes > before->sent_bytes ? sample->sent_bytes - before->sent_bytes : 0;
}

static void begin(FerryConvergence *convergence, const FerrySample *sample)
{
    convergence->begun = true;
    convergence->first = convergence->last = convergence->boundary = *sample;
    convergence->marks[0] = convergence->marks[1] = *sample;
    convergence->progress_ms = sample->at_ms;
}

static void measure_rate(FerryConvergence *convergence, const FerrySample *sample)
{
    FerrySample *marks = convergence->marks;
    uint64_t rate = per_second(sent_since(sample, &marks[0]), sample->at_ms - marks[0].at_ms);
    if (rate > 0)
        convergence->rate = rate;
    if (sample->at_ms - marks[1].at_ms < MARK_MS)
        return;
    marks[0] = marks[1];
    marks[1] = *sample;
}

static void note_progress(FerryConvergence *convergence, const FerrySample *sample)
{
    convergence->progress_ms = sample->at_ms;
    convergence->stale_passes = 0;
}

// One pass or several, if they were faster than the samples, are over.
static void close_passes(FerryConvergence *convergence, const FerrySample *sample)
{
    const FerrySample *begin = &convergence->boundary;
    uint32_t passes = sample->passes - begin->passes;
    if (begin->passes >= 2) { // what the first one sent says nothing
        convergence->pass_bytes = sent_since(sample, begin) / passes;
        convergence->pass_ms = (sample->at_ms - begin->at_ms) / passes;
        uint64_t best = convergence->best_bytes;
        convergence->stale_passes += passes;
        if (best == 0 || convergence->pass_bytes < best / 100 * SMALLER_PERCENT) {
            convergence->best_bytes = MAX(convergence->pass_bytes, (uint64_t)1);
            note_progress(convergence, sample);
        }
    } else {
        note_progress(convergence, sample);
    }
    convergence->boundary = *sample;
}

static bool out_of_time(const FerryConvergence *convergence, const FerrySample *sample)
{
    int64_t elapsed_ms = sample->at_ms - convergence->first.at_ms;
    uint64_t rate = per_second(sent_since(sample, &convergence->first), elapsed_ms);
    if (sample->passes < 2 || rate == 0) // a storage that hangs is no reason to pause the guest
        return false;
    uint64_t ram_ms = sample->ram_bytes / MAX(rate / 1000, (uint64_t)1);
    return elapsed_ms > FERRY_PASSES_LIMIT_MS + LIMIT_PASSES * (int64_t)ram_ms;
}

static FerryPasses judge(const FerryConvergence *convergence, const FerrySample *sample)
{
    int64_t stale_ms = sample->at_ms - convergence->progress_ms;
    bool slow_as_may_be = sample->throttle >= convergence->max_throttle;
    int64_t patience_ms =
        (slow_as_may_be ? VAIN_MS : VAIN_THROTTLE_MS) + VAIN_EXTRA_PASSES * convergence->pass_ms;
    if (out_of_time(convergence, sample))
        return FERRY_PASSES_VAIN;
    if (sample->passes < MIN_PASSES)
        return FERRY_PASSES_HELP;
    if (convergence->stale_passes >= VAIN_PASSES && stale_ms > patience_ms)
        return FERRY_PASSES_VAIN;
    if (convergence->stale_passes >= STALL_PASSES && stale_ms > STALL_MS)
        return FERRY_PASSES_STALL;
    return FERRY_PASSES_HELP;
}

FerryPasses ferry_convergence_feed(FerryConvergence *convergence, const FerrySample *sample)
{
    if (!convergence->begun)
        begin(convergence, sample);
    measure_rate(convergence, sample);
    bool measurable = convergence->pass_bytes == 0 ||
                      sample->at_ms - convergence->boundary.at_ms >= CLOSE_MS;
    if (sample->passes > convergence->boundary.passes && measurable)
        close_passes(convergence, sample);
    if (sample->throttle > convergence->last.throttle) // a new chance
        note_progress(convergence, sample);
    convergence->last = *sample;
    return judge(convergence, sample);
}

// QEMU counts a page once a pass, however often it was written.
char *ferry_convergence_describe(const FerryConvergence *convergence)
{
    const double mb = 1e6;
    GString *text = g_string_new(NULL);
    g_string_printf(text,
                    "its memory changes by at least %.0f MB/s, the storage takes %.0f MB/s, and %.0f MB are "
                    "left after each pass",
                    (double)convergence->last.dirty_rate / mb, (double)convergence->rate / mb,
                    (double)convergence->pass_bytes / mb);
    if (convergence->last.throttle > 0)
        g_string_append_printf(text, ", with %u %% of its CPU time taken from it",
                               convergence->last.throttle);
    return g_string_free(text, FALSE);
}
