// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/stay.h"

enum { LOOK_MS = 200 };

typedef enum { STAY_TOLD, STAY_FORGOTTEN, STAY_FOUND } StayStep; // what is waited for

struct AgentStay {
    AgentVm *vm;
    StayStep step;
    gint64 until_us; // 0: the move goes on
    guint timer;
};

typedef struct {
    Agent *agent;
    char *vm;
    AgentVmDone done;
    gpointer data;
} Held;

static void held(const GError *error, gpointer data)
{
    g_autofree Held *call = data;
    AgentVm *vm = agent_vm_find(call->agent, call->vm);
    if (vm != NULL)
        call->done(vm, error, call->data);
    g_free(call->vm);
}

void agent_stay_begin(AgentVm *vm, AgentVmDone done, gpointer data)
{
    agent_stay_free(vm->stay);
    vm->stay = g_new0(AgentStay, 1);
    vm->stay->vm = vm;
    Held *call = g_new(Held, 1);
    *call = (Held){vm->agent, g_strdup(vm->name), done, data};
    agent_pacemaker_hold(vm->agent->pacemaker, vm->name, AGENT_STAY_HOLD_S, held, call);
}

static void let_go(const GError *error, gpointer data)
{
    g_autofree char *name = data;
    if (error != NULL) // it ends by itself
        g_warning("VM %s: Pacemaker leaves it alone for up to %d s: %s", name, AGENT_STAY_HOLD_S,
                  error->message);
}

static void end(AgentVm *vm)
{
    g_clear_pointer(&vm->stay, agent_stay_free);
    agent_pacemaker_let_go(vm->agent->pacemaker, vm->name, let_go, g_strdup(vm->name));
}

static bool is_preferred(const AgentVm *vm)
{
    bool preferred = false;
    json_t *preferences = agent_pacemaker_preferences(vm->agent->pacemaker);
    size_t index;
    json_t *preference;
    json_array_foreach (preferences, index, preference)
        preferred = preferred ||
                    g_strcmp0(json_string_value(json_object_get(preference, "name")), vm->name) == 0;
    json_decref(preferences);
    return preferred;
}

static void forgotten(const GError *error, gpointer data)
{
    g_autofree char *name = data;
    if (error != NULL)
        g_warning("VM %s: its failed move is not forgotten: %s", name, error->message);
}

// Each step is seen in the CIB before the next. A failure that is recorded after it was forgotten
// would be recovered from; a constraint that still stands would move the VM at once; and a VM whose
// history is gone is not known to run anywhere until it was probed.
static bool reached(const AgentStay *stay)
{
    const AgentVm *vm = stay->vm;
    const AgentPacemaker *pacemaker = vm->agent->pacemaker;
    bool failed = agent_pacemaker_move_failed(pacemaker, vm->name, vm->agent->name);
    if (stay->step == STAY_TOLD)
        return failed && !is_preferred(vm);
    return !failed && agent_pacemaker_found(pacemaker, vm->name, vm->agent->name);
}

static gboolean look(gpointer data)
{
    AgentStay *stay = data;
    AgentVm *vm = stay->vm;
    if (!reached(stay) && g_get_monotonic_time() < stay->until_us)
        return G_SOURCE_CONTINUE;
    if (stay->step == STAY_TOLD)
        // The target's history, too: Pacemaker takes the VM to be active there as well.
        agent_pacemaker_refresh(vm->agent->pacemaker, vm->name, forgotten, g_strdup(vm->name));
    if (stay->step != STAY_FOUND) {
        stay->step++;
        return G_SOURCE_CONTINUE;
    }
    stay->timer = 0;
    end(vm);
    return G_SOURCE_REMOVE;
}

void agent_stay_end(AgentVm *vm, bool stayed)
{
    if (vm->stay == NULL || vm->stay->until_us != 0)
        return;
    if (!stayed) {
        end(vm);
        return;
    }
    vm->stay->until_us = g_get_monotonic_time() + (gint64)AGENT_STAY_PATIENCE_MS * 1000;
    vm->stay->timer = g_timeout_add(LOOK_MS, look, vm->stay);
}

void agent_stay_free(AgentStay *stay)
{
    if (stay == NULL)
        return;
    g_clear_handle_id(&stay->timer, g_source_remove);
    g_free(stay);
}
