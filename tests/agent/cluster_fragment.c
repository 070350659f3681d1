// SPDX-License-Identifier: GPL-2.0-or-later
// Messages split for CPG and joined again.
#include "agent/fragment.h"
#include <string.h>

#define PART 100u
#define FRAGMENT (PART + FRAGMENT_HEADER)

static GPtrArray *split(uint32_t id, const char *text, size_t length)
{
    g_autoptr(GError) error = NULL;
    GPtrArray *fragments = fragment_split(id, text, length, FRAGMENT, &error);

    g_assert_no_error(error);
    return fragments;
}

static GBytes *feed(FragmentJoin *join, GBytes *fragment)
{
    g_autoptr(GError) error = NULL;
    GBytes *whole;
    gsize length;
    const void *data = g_bytes_get_data(fragment, &length);

    g_assert_cmpuint(length, <=, FRAGMENT);
    g_assert_true(fragment_join_add(join, data, length, &whole, &error));
    g_assert_no_error(error);
    return whole;
}

static void refuse(FragmentJoin *join, GBytes *fragment)
{
    g_autoptr(GError) error = NULL;
    GBytes *whole = (GBytes *)join;
    gsize length;
    const void *data = g_bytes_get_data(fragment, &length);

    g_assert_false(fragment_join_add(join, data, length, &whole, &error));
    g_assert_error(error, AGENT_ERROR, AGENT_ERROR_INVALID);
    g_assert_null(whole);
}

static void test_lengths(void)
{
    const struct {
        size_t length;
        guint parts;
    } cases[] = {{1, 1}, {PART - 1, 1}, {PART, 1}, {PART + 1, 2}, {2 * PART, 2}, {950, 10}};
    g_autoptr(FragmentJoin) join = fragment_join_new();

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = g_malloc(cases[i].length);
        for (size_t at = 0; at < cases[i].length; at++)
            text[at] = (char)(at * 7);
        g_autoptr(GPtrArray) fragments = split((uint32_t)i, text, cases[i].length);

        g_assert_cmpuint(fragments->len, ==, cases[i].parts);
        for (guint part = 0; part + 1 < fragments->len; part++)
            g_assert_null(feed(join, fragments->pdata[part]));
        g_autoptr(GBytes) whole = feed(join, fragments->pdata[fragments->len - 1]);
        g_autoptr(GBytes) original = g_bytes_new(text, cases[i].length);
        g_assert_true(g_bytes_equal(whole, original));
    }
}

static void test_too_long(void)
{
    g_autofree char *text = g_malloc0(FRAGMENT_MESSAGE_MAX + 1);
    g_autoptr(GError) error = NULL;

    g_assert_null(fragment_split(1, text, FRAGMENT_MESSAGE_MAX + 1, 65536, &error));
    g_assert_error(error, AGENT_ERROR, AGENT_ERROR_INVALID);
    g_autoptr(GPtrArray) fits = fragment_split(1, text, FRAGMENT_MESSAGE_MAX, 65536, NULL);
    g_assert_nonnull(fits);
}

// A peer that never ends its message must not fill our memory.
static void test_join_is_bounded(void)
{
    g_autofree char *text = g_malloc0(FRAGMENT_MESSAGE_MAX);
    g_autoptr(GPtrArray) fragments = fragment_split(1, text, FRAGMENT_MESSAGE_MAX, 65552, NULL);
    g_autoptr(FragmentJoin) join = fragment_join_new();
    bool refused = false;

    // Each fragment claims to be one of two more than there are.
    for (guint32 i = 0; i < fragments->len + 2 && !refused; i++) {
        gsize length;
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) whole = NULL;
        const void *data = g_bytes_get_data(fragments->pdata[0], &length);
        g_autofree guint32 *copy = g_memdup2(data, length);

        copy[2] = GUINT32_TO_BE(i);
        copy[3] = GUINT32_TO_BE(fragments->len + 2);
        refused = !fragment_join_add(join, copy, length, &whole, &error);
        g_assert_null(whole);
        if (refused)
            g_assert_cmpuint(i, ==, fragments->len);
    }
    g_assert_true(refused);
}

static void test_out_of_turn(void)
{
    g_autofree char *text = g_strnfill(3 * PART, 'a');
    g_autoptr(GPtrArray) first = split(1, text, 3 * PART);
    g_autoptr(GPtrArray) second = split(2, text, 2 * PART);
    g_autoptr(FragmentJoin) join = fragment_join_new();

    // The rest of a message whose beginning nobody saw.
    refuse(join, first->pdata[1]);
    // A gap.
    g_assert_null(feed(join, first->pdata[0]));
    refuse(join, first->pdata[2]);
    // Another message's part.
    g_assert_null(feed(join, first->pdata[0]));
    refuse(join, second->pdata[1]);
    // A new beginning ends what was given up.
    g_assert_null(feed(join, first->pdata[0]));
    g_assert_null(feed(join, second->pdata[0]));
    g_autoptr(GBytes) whole = feed(join, second->pdata[1]);
    g_assert_cmpuint(g_bytes_get_size(whole), ==, 2 * PART);
}

static void test_garbage(void)
{
    const char header_only[FRAGMENT_HEADER] = "VMF1";
    const char other[] = "another program's message, long enough";
    g_autoptr(GBytes) empty = g_bytes_new("", 0);
    g_autoptr(GBytes) bare = g_bytes_new(header_only, sizeof(header_only));
    g_autoptr(GBytes) foreign = g_bytes_new(other, sizeof(other));
    g_autoptr(FragmentJoin) join = fragment_join_new();

    refuse(join, empty);
    refuse(join, bare);
    refuse(join, foreign);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fragment/lengths", test_lengths);
    g_test_add_func("/fragment/too-long", test_too_long);
    g_test_add_func("/fragment/join-is-bounded", test_join_is_bounded);
    g_test_add_func("/fragment/out-of-turn", test_out_of_turn);
    g_test_add_func("/fragment/garbage", test_garbage);
    return g_test_run();
}
