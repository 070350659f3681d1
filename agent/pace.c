// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/pace.h"

#include <string.h>

enum {
    LIMIT_CHANGE_PERCENT = 25, // smaller changes of the downtime limit are not worth a command
    LIMIT_EVERY_MS = 1000,
};

struct AgentPace {
    AgentVm *vm;
    AgentJob *job;
    bool moves;   // there is a target
    char mode[8]; // how the target is going to load, as it looks
    unsigned max_blackout_ms;
    bool whole; // passes stall: max_blackout is used up
    int64_t limit_changed_ms;
    unsigned max_throttle_seen;
    FerryConvergence convergence;
    FerryRest rest;
    FerryOverhead overhead;
    FerryForecast forecast;
    FerrySaveSpeed speed;
};

// --- what earlier moves told ---

static bool loads_eagerly(Agent *agent, const HvDefinition *definition, const char *peer)
{
    json_t *status = g_hash_table_lookup(agent->peers, peer);
    json_t *userfaultfd = json_object_get(json_object_get(status, "node"), "userfaultfd");
    return definition->restore == HV_RESTORE_EAGER || json_is_false(userfaultfd);
}

static double real(json_t *object, const char *key)
{
    double value = json_number_value(json_object_get(object, key));
    return value > 0 ? value : 0;
}

static void recall(AgentPace *pace)
{
    json_t *known = json_object_get(pace->vm->last_move, "overhead");
    const char *mode = json_string_value(json_object_get(known, "mode"));
    json_int_t moves = json_integer_value(json_object_get(known, "moves"));
    if (strcmp(pace->mode, "lazy") == 0)
        pace->overhead = pace->vm->agent->overhead;
    if (moves > 0 && g_strcmp0(mode, pace->mode) == 0)
        pace->overhead = (FerryOverhead){(unsigned)MIN(moves, G_MAXINT), real(known, "mean_ms"),
                                         real(known, "spread_ms")};
}

static json_t *overhead_as_json(const AgentPace *pace, const char *mode)
{
    return json_pack("{s:s, s:I, s:f, s:f}", "mode", mode, "moves",
                     (json_int_t)pace->overhead.moves, "mean_ms", pace->overhead.mean_ms,
                     "spread_ms", pace->overhead.spread_ms);
}

// --- on the way ---

static void forecast(AgentPace *pace)
{
    if (!pace->moves)
        return;
    pace->forecast = ferry_forecast(&pace->rest, &pace->overhead);
    agent_job_forecast(pace->job, pace->forecast.ms, pace->forecast.margin_ms);
}

AgentPace *agent_pace_new(AgentVm *vm, const char *peer, AgentJob *job)
{
    AgentPace *pace = g_new0(AgentPace, 1);
    pace->vm = vm;
    pace->job = job;
    pace->moves = peer != NULL;
    if (peer != NULL)
        g_strlcpy(pace->mode, loads_eagerly(vm->agent, vm->definition, peer) ? "eager" : "lazy",
                  sizeof(pace->mode));
    recall(pace);
    return pace;
}

void agent_pace_free(AgentPace *pace)
{
    g_free(pace);
}

unsigned agent_pace_begin(AgentPace *pace)
{
    g_autoptr(HvDefinition) wanted = agent_vm_wanted(pace->vm);
    pace->max_blackout_ms = wanted->max_blackout_ms;
    pace->convergence.max_throttle = wanted->max_throttle_percent;
    hv_vm_set_max_throttle(pace->vm->hv, wanted->max_throttle_percent);
    pace->rest.limit_ms =
        ferry_downtime_limit(pace->max_blackout_ms, &pace->rest, &pace->overhead, false);
    forecast(pace);
    return pace->rest.limit_ms;
}

void agent_pace_saver(AgentPace *pace, const FerrySaverProgress *progress)
{
    pace->rest.pending_bytes = progress->bytes_pending;
    if (strcmp(pace->mode, "eager") == 0)
        pace->rest.load_bytes = progress->pages_present * 4096;
}

static void set_limit(AgentPace *pace, int64_t now_ms)
{
    unsigned before = pace->rest.limit_ms;
    unsigned limit =
        ferry_downtime_limit(pace->max_blackout_ms, &pace->rest, &pace->overhead, pace->whole);
    unsigned change = limit > before ? limit - before : before - limit;
    if (change * 100 <= before * LIMIT_CHANGE_PERCENT ||
        now_ms - pace->limit_changed_ms < LIMIT_EVERY_MS)
        return;
    pace->limit_changed_ms = now_ms;
    pace->rest.limit_ms = limit;
    hv_vm_save_limit(pace->vm->hv, limit, NULL, NULL);
}

bool agent_pace_sample(AgentPace *pace, const HvMigration *migration)
{
    FerrySample sample = {
        .at_ms = g_get_monotonic_time() / 1000,
        .passes = migration->passes,
        .ram_bytes = migration->ram_total,
        .sent_bytes = migration->ram_transferred,
        .dirty_rate = migration->dirty_rate,
        .throttle = migration->throttle,
    };
    ferry_save_sample(&pace->speed, sample.at_ms, migration->ram_remaining, sample.sent_bytes);
    FerryPasses passes = ferry_convergence_feed(&pace->convergence, &sample);
    pace->rest.rest_bytes = pace->convergence.pass_bytes;
    pace->rest.rate = pace->convergence.rate;
    pace->max_throttle_seen = MAX(pace->max_throttle_seen, sample.throttle);
    pace->whole = pace->whole || passes != FERRY_PASSES_HELP;
    if (passes != FERRY_PASSES_VAIN)
        set_limit(pace, sample.at_ms);
    forecast(pace);
    return passes != FERRY_PASSES_VAIN;
}

unsigned agent_pace_least_ms(const AgentPace *pace)
{
    return ferry_save_least_ms(&pace->speed, g_get_monotonic_time() / 1000,
                               hv_vm_resident(pace->vm->hv));
}

void agent_pace_force(AgentPace *pace)
{
    pace->rest.forced = true;
    forecast(pace);
}

// --- telling ---

char *agent_pace_describe(const AgentPace *pace)
{
    return ferry_convergence_describe(&pace->convergence);
}

static bool has_forecast(const AgentPace *pace)
{
    return pace->forecast.ms > 0;
}

char *agent_pace_text(const AgentPace *pace)
{
    return has_forecast(pace) ? g_strdup_printf("expected blackout %.0f ms +- %.0f ms",
                                                pace->forecast.ms, pace->forecast.margin_ms)
                              : NULL;
}

static json_t *real_or_null(bool known, double value)
{
    return known ? json_real(value) : json_null();
}

void agent_pace_tell(const AgentPace *pace, json_t *details)
{
    bool known = has_forecast(pace);
    json_object_set_new(details, "expected_blackout_ms", real_or_null(known, pace->forecast.ms));
    json_object_set_new(details, "expected_blackout_margin_ms",
                        real_or_null(known, pace->forecast.margin_ms));
}

void agent_pace_end(AgentPace *pace, double blackout_ms, const char *mode, json_t *result)
{
    agent_pace_tell(pace, result);
    json_object_set_new(result, "forced", json_boolean(pace->rest.forced));
    json_object_set_new(result, "throttle_percent", json_integer(pace->max_throttle_seen));
    if (!has_forecast(pace) || blackout_ms <= 0 || *mode == '\0') {
        json_object_set(result, "overhead", json_object_get(pace->vm->last_move, "overhead"));
        return;
    }
    if (strcmp(mode, pace->mode) != 0) // it was loaded in another way than it looked
        pace->overhead = (FerryOverhead){0};
    ferry_overhead_learn(&pace->overhead, &pace->rest, blackout_ms);
    if (strcmp(mode, "lazy") == 0)
        ferry_overhead_learn(&pace->vm->agent->overhead, &pace->rest, blackout_ms);
    json_object_set_new(result, "overhead", overhead_as_json(pace, mode));
}
