// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/move/world.h"

#include <string.h>

enum { MAX_STEPS = 400 };

typedef void (*Event)(World *world, gpointer data);
typedef struct {
    Event event;
    gpointer data; // freed with the item
} Item;

static const FerrySourceOps source_ops;
static const FerryTargetOps target_ops;

static void later(World *world, Event event, gpointer data)
{
    Item *item = g_new(Item, 1);
    *item = (Item){.event = event, .data = data};
    g_queue_push_tail(&world->queue, item);
}

static void see_guests(World *world)
{
    if (world->source_guest == GUEST_RUNNING && world->target_guest == GUEST_RUNNING)
        world->ever_two = true;
}

// --- storage ---

typedef struct {
    FerryRecord record;
    guint64 expected;
    bool target;
} Write;

static void do_write(World *world, gpointer data)
{
    Write *write = data;
    g_autoptr(GError) error = NULL;
    if (write->target && world->fault == FAULT_TARGET_AGENT_DIES && world->target_agent_dead)
        return; // a dead process writes no more; a lost node still may
    guint number = world->writes++;
    bool fails_before = world->fault == FAULT_WRITE_FAILS_BEFORE && number == world->at;
    bool fails_after = world->fault == FAULT_WRITE_FAILS_AFTER && number == world->at;
    if (write->expected != world->record.sequence)
        error = g_error_new(FERRY_ERROR, FERRY_ERROR_STATE, "the record has changed");
    if (error == NULL && !fails_before) {
        write->record.sequence = world->record.sequence + 1;
        world->record = write->record;
    }
    if (fails_before || fails_after)
        error = g_error_new(FERRY_ERROR, FERRY_ERROR_IO, "input/output error");
    if (!write->target && world->source != NULL)
        ferry_source_written(world->source, &world->record, error);
    else if (write->target && world->target != NULL)
        ferry_target_written(world->target, &world->record, error);
}

static void write_record(World *world, const FerryRecord *record, uint64_t expected, bool target)
{
    Write *write = g_new(Write, 1);
    *write = (Write){.record = *record, .expected = expected, .target = target};
    later(world, do_write, write);
}

static void source_write(void *env, const FerryRecord *record, uint64_t expected)
{
    write_record(env, record, expected, false);
}

static void target_write(void *env, const FerryRecord *record, uint64_t expected)
{
    write_record(env, record, expected, true);
}

static void do_source_read(World *world, gpointer data)
{
    (void)data;
    if (world->source != NULL)
        ferry_source_read(world->source, &world->record, NULL);
}

static void source_read(void *env)
{
    later(env, do_source_read, NULL);
}

static void do_target_read(World *world, gpointer data)
{
    (void)data;
    if (world->target != NULL)
        ferry_target_read(world->target, &world->record, NULL);
}

static void target_read(void *env)
{
    later(env, do_target_read, NULL);
}

// --- messages ---

typedef struct {
    FerryMessage message;
    char *reason;
} Letter;

static void do_to_target(World *world, gpointer data)
{
    Letter *letter = data;
    letter->message.reason = letter->reason;
    if (world->target_agent_dead) {
    } else if (letter->message.type == FERRY_MESSAGE_REHEARSE) {
        world->target = ferry_target_new(&target_ops, world, "move", "vm", "uuid", "b", "a",
                                         letter->message.epoch);
        ferry_target_start(world->target);
    } else if (world->target != NULL) {
        ferry_target_message(world->target, &letter->message);
    } else if (letter->message.type == FERRY_MESSAGE_ABORT && world->source != NULL) {
        ferry_source_message(
            world->source,
            &(FerryMessage){.type = world->target_done &&
                                            world->target_outcome == FERRY_TARGET_RUNNING
                                        ? FERRY_MESSAGE_RUNNING
                                        : FERRY_MESSAGE_ABORTED,
                            .move = "move",
                            .vm = "vm"});
    }
    g_free(letter->reason);
}

static void do_to_source(World *world, gpointer data)
{
    Letter *letter = data;
    letter->message.reason = letter->reason;
    if (world->source != NULL)
        ferry_source_message(world->source, &letter->message);
    g_free(letter->reason);
}

static void post(World *world, const FerryMessage *message, Event event)
{
    Letter *letter = g_new(Letter, 1);
    *letter = (Letter){.message = *message, .reason = g_strdup(message->reason)};
    later(world, event, letter);
}

static void source_send(void *env, const FerryMessage *message)
{
    post(env, message, do_to_target);
}

static void target_send(void *env, const FerryMessage *message)
{
    post(env, message, do_to_source);
}

// --- QEMU, saver, pager ---

static void do_save(World *world, gpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    if (world->source == NULL)
        return;
    if (world->fault == FAULT_SAVE_FAILS || world->source_guest == GUEST_NONE) {
        error = g_error_new(FERRY_ERROR, FERRY_ERROR_IO, "no space left on device");
        ferry_source_save_failed(world->source, error);
        return;
    }
    world->source_guest = GUEST_PAUSED;
    world->now_us += 1000;
    ferry_source_qemu_paused(world->source);
    ferry_source_qemu_migrated(world->source);
    ferry_source_flushed(world->source, &(FerryImage){.ram_bytes = 1 << 20, .passes = 2});
}

static void source_save(void *env, uint64_t epoch)
{
    (void)epoch;
    later(env, do_save, NULL);
}

static void do_save_ended(World *world, gpointer data)
{
    (void)data;
    if (world->source != NULL)
        ferry_source_save_ended(world->source);
}

static void source_end_save(void *env)
{
    later(env, do_save_ended, NULL);
}

static void do_source_cont(World *world, gpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    if (world->source_guest == GUEST_NONE)
        error = g_error_new(FERRY_ERROR, FERRY_ERROR_CHILD, "QEMU is gone");
    else if (world->fault == FAULT_SOURCE_CONT_FAILS && world->source_conts++ == 0)
        error = g_error_new(FERRY_ERROR, FERRY_ERROR_TIMEOUT, "no answer");
    else
        world->source_guest = GUEST_RUNNING;
    see_guests(world);
    if (world->source != NULL)
        ferry_source_continued(world->source, error);
}

static void source_cont(void *env)
{
    later(env, do_source_cont, NULL);
}

static void do_source_exit(World *world, gpointer data)
{
    (void)data;
    world->source_guest = GUEST_NONE;
    if (world->source != NULL)
        ferry_source_qemu_exited(world->source);
}

static void source_quit(void *env)
{
    later(env, do_source_exit, NULL);
}

static void do_prepared(World *world, gpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    if (world->target == NULL)
        return;
    if (world->fault == FAULT_TARGET_REFUSES)
        error = g_error_new(FERRY_ERROR, FERRY_ERROR_REFUSED, "no memory");
    else
        world->target_guest = GUEST_PAUSED;
    ferry_target_prepared(world->target, error);
}

static void target_prepare(void *env)
{
    later(env, do_prepared, NULL);
}

static void do_loaded(World *world, gpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    if (world->target == NULL)
        return;
    if (world->fault == FAULT_LOAD_FAILS || world->fault == FAULT_SOURCE_CONT_FAILS)
        error = g_error_new(FERRY_ERROR, FERRY_ERROR_CORRUPT, "page 7: CRC32C");
    ferry_target_loaded(world->target, "eager", 4096, error);
}

static void target_load(void *env, uint64_t epoch)
{
    (void)epoch;
    later(env, do_loaded, NULL);
}

static bool target_still_loading(void *env)
{
    return ((World *)env)->lazy;
}

static void do_target_cont(World *world, gpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    if (world->target == NULL)
        return;
    if (world->target_guest == GUEST_NONE) {
        error = g_error_new(FERRY_ERROR, FERRY_ERROR_CHILD, "QEMU is gone");
    } else if (world->fault == FAULT_TARGET_CONT_FAILS ||
               (world->fault == FAULT_TARGET_CONT_FAILS_ONCE && world->target_conts++ == 0)) {
        error = g_error_new(FERRY_ERROR, FERRY_ERROR_TIMEOUT, "no answer");
    } else {
        if (world->record.state != FERRY_CONSUMED || strcmp(world->record.owner, "b") != 0)
            world->resumed_stale = true;
        world->target_guest = GUEST_RUNNING;
        world->resumptions++;
    }
    see_guests(world);
    ferry_target_continued(world->target, error);
}

static void target_cont(void *env)
{
    later(env, do_target_cont, NULL);
}

static void do_target_exit(World *world, gpointer data)
{
    (void)data;
    world->target_guest = GUEST_NONE;
    if (world->target != NULL)
        ferry_target_qemu_exited(world->target);
}

static void target_kill(void *env)
{
    later(env, do_target_exit, NULL);
}

static bool target_may_commit(void *env, GError **error)
{
    World *world = env;
    if (world->fault != FAULT_NO_QUORUM)
        return true;
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_REFUSED, "no quorum");
    return false;
}

// --- clock, ends ---

static int64_t now_us(void *env)
{
    return ((World *)env)->now_us;
}

static void do_source_timer(World *world, gpointer data)
{
    (void)data;
    if (world->source != NULL)
        ferry_source_timer(world->source);
}

static void source_set_timer(void *env, unsigned ms)
{
    World *world = env;
    if (ms == 1000) // storage retries; longer ones are not due in these runs
        later(world, do_source_timer, NULL);
}

static void do_target_timer(World *world, gpointer data)
{
    (void)data;
    if (world->target != NULL)
        ferry_target_timer(world->target);
}

static void target_set_timer(void *env, unsigned ms)
{
    if (ms != 0)
        later(env, do_target_timer, NULL);
}

static void ignore_phase(void *env, FerryPhase phase)
{
    (void)env;
    (void)phase;
}

static void do_free_source(World *world, gpointer data)
{
    (void)data;
    g_clear_pointer(&world->source, ferry_source_free);
}

static void source_finished(void *env, FerrySourceOutcome outcome, const GError *error)
{
    World *world = env;
    bool good = outcome == FERRY_SOURCE_MOVED || outcome == FERRY_SOURCE_SAVED;
    g_assert_true(good || error != NULL);
    world->source_done = true;
    world->source_outcome = outcome;
    later(world, do_free_source, NULL);
}

static void do_free_target(World *world, gpointer data)
{
    (void)data;
    g_clear_pointer(&world->target, ferry_target_free);
}

static void target_finished(void *env, FerryTargetOutcome outcome, const GError *error)
{
    (void)error;
    World *world = env;
    world->target_done = true;
    world->target_outcome = outcome;
    later(world, do_free_target, NULL);
}

static void source_ahead(void *env, uint64_t bytes)
{
    (void)env;
    (void)bytes;
}

static const FerrySourceOps source_ops = {
    .ahead = source_ahead,
    .now_us = now_us,
    .set_timer = source_set_timer,
    .send = source_send,
    .write_record = source_write,
    .read_record = source_read,
    .start_save = source_save,
    .end_save = source_end_save,
    .cont = source_cont,
    .quit = source_quit,
    .phase = ignore_phase,
    .finished = source_finished,
};

static const FerryTargetOps target_ops = {
    .now_us = now_us,
    .set_timer = target_set_timer,
    .send = target_send,
    .prepare = target_prepare,
    .read_record = target_read,
    .write_record = target_write,
    .load = target_load,
    .may_commit = target_may_commit,
    .cont = target_cont,
    .still_loading = target_still_loading,
    .kill = target_kill,
    .phase = ignore_phase,
    .finished = target_finished,
};

// --- faults at a step ---

// What a restarted agent does with an uncommitted QEMU: ends it; with a committed one: `cont`.
static void target_agent_dies(World *world, FerryPeerLoss loss)
{
    if (world->target_agent_dead)
        return;
    world->target_agent_dead = true;
    g_clear_pointer(&world->target, ferry_target_free);
    bool owns = strcmp(world->record.owner, "b") == 0;
    if (loss == FERRY_PEER_NODE_LEFT || !owns)
        world->target_guest = GUEST_NONE;
    else if (world->target_guest == GUEST_PAUSED)
        world->target_guest = GUEST_RUNNING;
    see_guests(world);
    if (world->source != NULL && !world->source_done)
        ferry_source_peer_left(world->source, loss);
}

static void pager_dies(World *world)
{
    g_autoptr(GError) error = g_error_new(FERRY_ERROR, FERRY_ERROR_CHILD, "the pager was killed");
    ferry_target_loaded(world->target, "", 0, error);
}

static void inject(World *world)
{
    if (world->step != world->at)
        return;
    if (world->fault == FAULT_TARGET_AGENT_DIES)
        target_agent_dies(world, FERRY_PEER_PROCESS_LEFT);
    else if (world->fault == FAULT_TARGET_NODE_DIES)
        target_agent_dies(world, FERRY_PEER_NODE_LEFT);
    else if (world->fault == FAULT_SOURCE_QEMU_DIES && !world->source_done)
        do_source_exit(world, NULL);
    else if (world->fault == FAULT_TARGET_QEMU_DIES && world->target != NULL &&
             world->target_guest != GUEST_NONE && !world->target_done)
        do_target_exit(world, NULL);
    else if (world->fault == FAULT_PAGER_DIES && world->target != NULL && !world->target_done)
        pager_dies(world);
    else if (world->fault == FAULT_SOURCE_CANCELS && world->source != NULL && !world->source_done)
        ferry_source_cancel(world->source, "an admin");
}

void world_init(World *world, Fault fault, guint at)
{
    *world = (World){.fault = fault, .at = at, .source_guest = GUEST_RUNNING, .now_us = 1};
    g_queue_init(&world->queue);
    world->record = (FerryRecord){.sequence = 5, .epoch = 3, .state = FERRY_RUNNING};
    g_strlcpy(world->record.uuid, "uuid", sizeof(world->record.uuid));
    g_strlcpy(world->record.vm, "vm", sizeof(world->record.vm));
    g_strlcpy(world->record.owner, "a", sizeof(world->record.owner));
    world->source = ferry_source_new(&source_ops, world, "move", &world->record, "b", "{}");
    ferry_source_go(world->source);
    ferry_source_start(world->source);
}

void world_run(World *world)
{
    Item *item;
    while ((item = g_queue_pop_head(&world->queue)) != NULL) {
        inject(world);
        g_assert_cmpuint(world->step++, <, MAX_STEPS);
        item->event(world, item->data);
        g_free(item->data);
        g_free(item);
    }
}

void world_clear(World *world)
{
    g_clear_pointer(&world->source, ferry_source_free);
    g_clear_pointer(&world->target, ferry_target_free);
}
