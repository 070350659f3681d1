// SPDX-License-Identifier: GPL-2.0-or-later
// Fake time: a heap of what is going to happen. GLib's timers and clocks, as the product calls
// them, are linked to it (-Wl,--wrap, see CMakeLists.txt).
#include "tests/sim/world.h"

#include <string.h>

typedef struct {
    gint64 due_us;
    guint64 order;
    SimActor *actor;
    unsigned life;
    SimFn fn;          // NULL: free, or cancelled
    GSourceFunc timer; // instead of FN, for GLib's
    gpointer data;
    GDestroyNotify destroy;
    guint interval_ms;
    guint16 use; // times that this place was used: part of the id
    bool quiet, held;
} Event;

enum { EVENTS = 4096, PLACE_BITS = 12 };

static struct {
    Event events[EVENTS];
    guint16 heap[EVENTS], vacant[EVENTS];
    guint n_heap, n_vacant, n_held;
    guint16 held[EVENTS]; // of frozen actors, in the order in which they were due
    guint64 order;
} queue;

static void release(guint place)
{
    Event *event = &queue.events[place];
    if (event->destroy != NULL)
        event->destroy(event->data);
    event->fn = NULL;
    event->timer = NULL;
    event->destroy = NULL;
    event->use++;
    queue.vacant[queue.n_vacant++] = (guint16)place;
}

void sim_clock_reset(void)
{
    for (guint i = 0; i < EVENTS; i++)
        if (queue.events[i].destroy != NULL)
            queue.events[i].destroy(queue.events[i].data);
    memset(&queue, 0, sizeof queue);
    for (guint i = 0; i < EVENTS; i++)
        queue.vacant[queue.n_vacant++] = (guint16)(EVENTS - 1 - i);
}

// --- the heap ---

static bool before(guint a, guint b)
{
    const Event *x = &queue.events[a], *y = &queue.events[b];
    return x->due_us != y->due_us ? x->due_us < y->due_us : x->order < y->order;
}

static void push(guint16 place)
{
    guint at = queue.n_heap++;
    while (at > 0 && before(place, queue.heap[(at - 1) / 2])) {
        queue.heap[at] = queue.heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    queue.heap[at] = place;
}

static guint16 pop(void)
{
    guint16 first = queue.heap[0], last = queue.heap[--queue.n_heap];
    guint at = 0, child;
    while ((child = 2 * at + 1) < queue.n_heap) {
        if (child + 1 < queue.n_heap && before(queue.heap[child + 1], queue.heap[child]))
            child++;
        if (!before(queue.heap[child], last))
            break;
        queue.heap[at] = queue.heap[child];
        at = child;
    }
    queue.heap[at] = last;
    return first;
}

// --- making events ---

static guint add(SimActor *actor, gint64 us, const Event *event)
{
    if (queue.n_vacant == 0)
        g_error("more than %d events wait", EVENTS);
    guint16 place = queue.vacant[--queue.n_vacant];
    guint16 use = queue.events[place].use;
    Event *made = &queue.events[place];
    *made = *event;
    made->use = use;
    made->actor = actor != NULL ? actor : &world.actor;
    made->life = made->actor->life;
    made->due_us = world.now_us + MAX(us, 0);
    made->order = ++queue.order;
    push(place);
    return ((guint)use << PLACE_BITS | place) + 1;
}

guint sim_after(SimActor *actor, gint64 us, SimFn fn, gpointer data, GDestroyNotify destroy)
{
    return add(actor, us, &(Event){.fn = fn, .data = data, .destroy = destroy});
}

guint sim_quietly_after(SimActor *actor, gint64 us, SimFn fn, gpointer data, GDestroyNotify destroy)
{
    return add(actor, us, &(Event){.fn = fn, .data = data, .destroy = destroy, .quiet = true});
}

void sim_cancel(guint id)
{
    guint place = (id - 1) & (EVENTS - 1);
    Event *event = &queue.events[place];
    if (id == 0 || event->use != (guint16)((id - 1) >> PLACE_BITS))
        return;
    event->fn = NULL; // its place is given back when it is due
    event->timer = NULL;
}

gint64 sim_around(gint64 typical_us)
{
    gint64 percent = 50 + sim_below(100);
    unsigned kind = sim_below(100);
    if (kind < 2)
        percent *= 20 + sim_below(400);
    else if (kind < 15)
        percent *= 1 + sim_below(20);
    return typical_us * percent / 100;
}

gint64 sim_between(gint64 least_us, gint64 most_us)
{
    return least_us + sim_below((unsigned)(most_us - least_us));
}

gint64 sim_in_order(gint64 *last_us, gint64 typical_us)
{
    gint64 us = world.now_us + sim_around(typical_us);
    *last_us = MAX(*last_us, us);
    return *last_us - world.now_us;
}

// --- lives ---

void sim_end_life(SimActor *actor)
{
    actor->life++;
    actor->frozen = false;
}

static void hold(guint16 place)
{
    queue.events[place].held = true;
    queue.held[queue.n_held++] = place;
}

void sim_freeze(SimActor *actor, bool frozen)
{
    actor->frozen = frozen;
    if (frozen)
        return;
    guint kept = 0;
    for (guint i = 0; i < queue.n_held; i++) {
        Event *event = &queue.events[queue.held[i]];
        if (event->actor != actor) {
            queue.held[kept++] = queue.held[i];
            continue;
        }
        event->due_us = world.now_us;
        event->order = ++queue.order;
        push(queue.held[i]);
    }
    queue.n_held = kept;
}

// --- time passes ---

static void happen(guint16 place)
{
    Event event = queue.events[place];
    queue.events[place].destroy = NULL;
    if (event.fn == NULL) { // a timer of GLib's: it may be removed, or come again
        guint id = ((guint)event.use << PLACE_BITS | place) + 1;
        if (event.timer(event.data) && event.use == queue.events[place].use &&
            queue.events[place].timer != NULL && id != 0) {
            queue.events[place].due_us = world.now_us + (gint64)event.interval_ms * SIM_MS;
            queue.events[place].order = ++queue.order;
            push(place);
            return;
        }
        release(place);
        return;
    }
    release(place);
    event.fn(event.data);
    if (event.destroy != NULL)
        event.destroy(event.data);
}

bool sim_step(void)
{
    while (queue.n_heap > 0) {
        guint16 place = pop();
        Event *event = &queue.events[place];
        if ((event->fn == NULL && event->timer == NULL) || event->life != event->actor->life) {
            release(place);
            continue;
        }
        if (event->actor->frozen) {
            hold(place);
            continue;
        }
        world.now_us = MAX(world.now_us, event->due_us);
        world.here = event->actor->node;
        world.steps += !event->quiet;
        happen(place);
        return true;
    }
    return false;
}

// --- GLib's, for the product ---

guint __wrap_g_timeout_add(guint interval, GSourceFunc function, gpointer data);
guint __wrap_g_idle_add(GSourceFunc function, gpointer data);
gboolean __wrap_g_source_remove(guint id);
gint64 __wrap_g_get_monotonic_time(void);
gint64 __wrap_g_get_real_time(void);

guint __wrap_g_timeout_add(guint interval, GSourceFunc function, gpointer data)
{
    return add(&world.here->agent_process, (gint64)interval * SIM_MS,
               &(Event){.timer = function,
                        .data = data,
                        .interval_ms = interval,
                        .quiet = interval % 100 == 0});
}

guint __wrap_g_idle_add(GSourceFunc function, gpointer data)
{
    return __wrap_g_timeout_add(0, function, data);
}

gboolean __wrap_g_source_remove(guint id)
{
    sim_cancel(id);
    return TRUE;
}

gint64 __wrap_g_get_monotonic_time(void)
{
    return world.now_us;
}

gint64 __wrap_g_get_real_time(void)
{
    return world.now_us + G_GINT64_CONSTANT(1750000000000000);
}
