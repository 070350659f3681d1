// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/guest_time.h"

#include "agent/events.h"
#include "agent/guest_clock.h"

struct AgentGuestTime {
    guint timer; // until it begins: the guest's first moments are its own
    GuestClock *clock;
};

static void tell_failure(AgentVm *vm, const GError *error)
{
    agent_events_add(vm->agent->events, "warning", "vm.time-not-set", vm->name, NULL,
                     "the guest's time of day was not set after %s had stood still: %s", vm->name,
                     error->message);
}

static char *off(int64_t us)
{
    return g_strdup_printf("%.0f ms %s", (double)ABS(us) / 1000, us < 0 ? "behind" : "ahead");
}

static void tell_success(AgentVm *vm, const GuestClockResult *result)
{
    g_autofree char *before = off(result->before_us);
    g_autofree char *after = off(result->after_us);
    json_t *details = json_pack("{s:f, s:f, s:f, s:i}", "before_ms",
                                (double)result->before_us / 1000, "after_ms",
                                (double)result->after_us / 1000, "round_trip_ms",
                                (double)result->round_trip_us / 1000, "steps", (int)result->steps);
    if (result->steps > 0)
        agent_events_add(vm->agent->events, "info", "vm.time-set", vm->name, details,
                         "the time of day of %s was %s of %s, and is %s now", vm->name, before,
                         vm->agent->name, after);
    else
        agent_events_add(vm->agent->events, "info", "vm.time-set", vm->name, details,
                         "the time of day of %s is right (%s of %s)", vm->name, after,
                         vm->agent->name);
}

static void done(const GuestClockResult *result, const GError *error, gpointer data)
{
    AgentVm *vm = data;
    if (result != NULL)
        tell_success(vm, result);
    else
        tell_failure(vm, error);
    agent_guest_time_end(vm);
}

static gboolean begin(gpointer data)
{
    AgentVm *vm = data;
    g_autoptr(GError) error = NULL;
    vm->guest_time->timer = 0;
    vm->guest_time->clock = guest_clock_set(hv_vm_guest_agent_path(vm->hv), done, vm, &error);
    if (vm->guest_time->clock == NULL) {
        tell_failure(vm, error);
        agent_guest_time_end(vm);
    }
    return G_SOURCE_REMOVE;
}

void agent_guest_time_begin(AgentVm *vm)
{
    agent_guest_time_end(vm);
    if (vm->hv == NULL || vm->state != AGENT_VM_RUNNING || hv_vm_guest_agent_path(vm->hv) == NULL)
        return;
    vm->guest_time = g_new0(AgentGuestTime, 1);
    vm->guest_time->timer = g_timeout_add(AGENT_QUIET_MS, begin, vm);
}

void agent_guest_time_end(AgentVm *vm)
{
    if (vm->guest_time == NULL)
        return;
    g_clear_handle_id(&vm->guest_time->timer, g_source_remove);
    guest_clock_free(vm->guest_time->clock);
    g_clear_pointer(&vm->guest_time, g_free);
}
