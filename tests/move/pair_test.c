// SPDX-License-Identifier: GPL-2.0-or-later
// Both sides against each other, with every fault at every step: the guest runs on at most one side,
// its memory is resumed at most once, and a single fault outside QEMU never loses it.
#include "tests/move/world.h"

#include <string.h>

enum { STEPS = 40 };

static void check_rules(const World *world)
{
    g_assert_false(world->ever_two);
    g_assert_false(world->resumed_stale);
    g_assert_cmpuint(world->resumptions, <=, 1);
    if (world->target_guest == GUEST_RUNNING)
        g_assert_cmpstr(world->record.owner, ==, "b");
    if (world->source_guest == GUEST_RUNNING)
        g_assert_cmpstr(world->record.owner, ==, "a");
}

static bool memory_kept(const World *world)
{
    return world->source_guest == GUEST_RUNNING || world->target_guest == GUEST_RUNNING ||
           world->record.state == FERRY_SEALED;
}

static void undisturbed(void)
{
    World world;
    world_init(&world, FAULT_NONE, 0);
    world_run(&world);
    g_assert_cmpint(world.source_outcome, ==, FERRY_SOURCE_MOVED);
    g_assert_cmpint(world.target_outcome, ==, FERRY_TARGET_RUNNING);
    g_assert_cmpint(world.source_guest, ==, GUEST_NONE);
    g_assert_cmpint(world.target_guest, ==, GUEST_RUNNING);
    g_assert_cmpint(world.record.state, ==, FERRY_RUNNING);
    g_assert_cmpuint(world.record.epoch, ==, 4);
    g_assert_cmpuint(world.resumptions, ==, 1);
    check_rules(&world);
    world_clear(&world);
}

// The record stays CONSUMED until the last page is there, which is not the move's business.
static void lazy(void)
{
    World world;
    world_init(&world, FAULT_NONE, 0);
    world.lazy = true;
    world_run(&world);
    g_assert_cmpint(world.source_outcome, ==, FERRY_SOURCE_MOVED);
    g_assert_cmpint(world.target_outcome, ==, FERRY_TARGET_RUNNING);
    g_assert_cmpint(world.record.state, ==, FERRY_CONSUMED);
    check_rules(&world);
    world_clear(&world);
}

static void runs_on_after(gconstpointer data)
{
    World world;
    world_init(&world, (Fault)GPOINTER_TO_INT(data), 0);
    world_run(&world);
    g_assert_cmpint(world.source_outcome, ==, FERRY_SOURCE_RUNNING_ON);
    g_assert_cmpint(world.source_guest, ==, GUEST_RUNNING);
    g_assert_cmpint(world.target_guest, ==, GUEST_NONE);
    g_assert_cmpint(world.record.state, ==, FERRY_RUNNING);
    check_rules(&world);
    world_clear(&world);
}

// The area was replaced by an older copy, which even gives the VM to the other node: the guest runs on,
// and the copy stays what it is.
static void older_copy(gconstpointer owner)
{
    World world;
    world_init(&world, FAULT_NONE, 0);
    world.record.epoch--;
    world.record.sequence--;
    world.record.state = FERRY_SEALED;
    g_strlcpy(world.record.owner, owner, sizeof world.record.owner);
    const FerryRecord older = world.record;
    world_run(&world);
    g_assert_cmpint(world.source_outcome, ==, FERRY_SOURCE_RUNNING_ON);
    g_assert_cmpint(world.source_guest, ==, GUEST_RUNNING);
    g_assert_cmpint(world.target_guest, ==, GUEST_NONE);
    g_assert_cmpmem(&world.record, sizeof older, &older, sizeof older);
    world_clear(&world);
}

// The target committed, so the source must not run; and it must not say that it is gone while its
// QEMU may still run.
static void target_cannot_continue(void)
{
    World world;
    world_init(&world, FAULT_TARGET_CONT_FAILS, 0);
    world_run(&world);
    g_assert_cmpint(world.target_outcome, ==, FERRY_TARGET_LOST);
    g_assert_cmpint(world.source_outcome, ==, FERRY_SOURCE_MOVED);
    g_assert_cmpint(world.target_guest, ==, GUEST_NONE);
    g_assert_cmpint(world.source_guest, ==, GUEST_NONE);
    check_rules(&world);
    world_clear(&world);
}

// The guest's memory is the target's alone by then.
static void target_continues_later(void)
{
    World world;
    world_init(&world, FAULT_TARGET_CONT_FAILS_ONCE, 0);
    world_run(&world);
    g_assert_cmpint(world.target_outcome, ==, FERRY_TARGET_RUNNING);
    g_assert_cmpint(world.source_outcome, ==, FERRY_SOURCE_MOVED);
    g_assert_cmpint(world.target_guest, ==, GUEST_RUNNING);
    check_rules(&world);
    world_clear(&world);
}

static void at_every_step(gconstpointer data)
{
    Fault fault = (Fault)GPOINTER_TO_INT(data);
    for (guint at = 0; at < STEPS; at++) {
        World world;
        world_init(&world, fault, at);
        world_run(&world);
        check_rules(&world);
        bool qemu_died = fault == FAULT_SOURCE_QEMU_DIES || fault == FAULT_TARGET_QEMU_DIES;
        bool owner_lost =
            fault == FAULT_TARGET_NODE_DIES && strcmp(world.record.owner, "b") == 0;
        if (!qemu_died && !owner_lost)
            g_assert_true(memory_kept(&world));
        g_assert_true(world.source_done);
        world_clear(&world);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/move/undisturbed", undisturbed);
    g_test_add_func("/move/lazy", lazy);
    g_test_add_data_func("/move/older-copy-of-the-source", "a", older_copy);
    g_test_add_data_func("/move/older-copy-of-the-target", "b", older_copy);
    g_test_add_func("/move/target-cannot-continue", target_cannot_continue);
    g_test_add_func("/move/target-continues-later", target_continues_later);
    static const struct {
        const char *name;
        Fault fault;
    } reversible[] = {
        {"/move/runs-on/target-refuses", FAULT_TARGET_REFUSES},
        {"/move/runs-on/save-fails", FAULT_SAVE_FAILS},
        {"/move/runs-on/load-fails", FAULT_LOAD_FAILS},
        {"/move/runs-on/no-quorum", FAULT_NO_QUORUM},
        {"/move/runs-on/cont-fails-once", FAULT_SOURCE_CONT_FAILS},
    };
    static const struct {
        const char *name;
        Fault fault;
    } stepped[] = {
        {"/move/every-step/write-fails", FAULT_WRITE_FAILS_BEFORE},
        {"/move/every-step/write-fails-but-is-there", FAULT_WRITE_FAILS_AFTER},
        {"/move/every-step/target-agent-dies", FAULT_TARGET_AGENT_DIES},
        {"/move/every-step/target-node-dies", FAULT_TARGET_NODE_DIES},
        {"/move/every-step/source-qemu-dies", FAULT_SOURCE_QEMU_DIES},
        {"/move/every-step/target-qemu-dies", FAULT_TARGET_QEMU_DIES},
        {"/move/every-step/pager-dies", FAULT_PAGER_DIES},
        {"/move/every-step/source-cancels", FAULT_SOURCE_CANCELS},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(reversible); i++)
        g_test_add_data_func(reversible[i].name, GINT_TO_POINTER(reversible[i].fault),
                             runs_on_after);
    for (gsize i = 0; i < G_N_ELEMENTS(stepped); i++)
        g_test_add_data_func(stepped[i].name, GINT_TO_POINTER(stepped[i].fault), at_every_step);
    return g_test_run();
}
