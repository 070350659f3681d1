// SPDX-License-Identifier: GPL-2.0-or-later
// The run record's edges: each pair of states, allowed or refused as the table says.
#include "migrate/record.h"

#include <string.h>

static const struct {
    FerryState from, to;
    bool new_epoch;
} allowed[] = {
#define FERRY_STATE(id, name, text)
#define FERRY_EDGE(from, to, step, when) {FERRY_##from, FERRY_##to, step},
#include "migrate/record_states.def"
#undef FERRY_STATE
#undef FERRY_EDGE
};

static bool is_allowed(FerryState from, FerryState to, bool new_epoch)
{
    for (size_t i = 0; i < G_N_ELEMENTS(allowed); i++)
        if (allowed[i].from == from && allowed[i].to == to && allowed[i].new_epoch == new_epoch)
            return true;
    return false;
}

static FerryRecord record_in(FerryState state)
{
    return (FerryRecord){.epoch = 5,
                         .state = state,
                         .vm = "guest",
                         .owner = "n1",
                         .peer = "n2",
                         .definition_length = 3,
                         .image = {.descriptor_length = 9}};
}

static void check_allowed(const FerryRecord *record, FerryState to, bool new_epoch)
{
    bool keeps_image = to == FERRY_SEALED || to == FERRY_CONSUMED || to == FERRY_QUARANTINED;
    bool keeps_peer = to == FERRY_SAVING || to == FERRY_SEALED;
    g_assert_cmpint(record->state, ==, to);
    g_assert_cmpuint(record->epoch, ==, new_epoch ? 6 : 5);
    g_assert_cmpstr(record->owner, ==, "n3");
    g_assert_cmpstr(record->peer, ==, keeps_peer ? "n2" : "");
    g_assert_cmpuint(record->image.descriptor_length, ==, keeps_image ? 9 : 0);
    g_assert_cmpuint(record->definition_length, ==, keeps_image || to == FERRY_SAVING ? 3 : 0);
}

static void check_pair(FerryState from, FerryState to, bool new_epoch)
{
    g_autoptr(GError) error = NULL;
    FerryRecord before = record_in(from), record = before;
    bool advanced = ferry_record_advance(&record, to, new_epoch, "n3", &error);
    g_assert_cmpint(advanced, ==, is_allowed(from, to, new_epoch));
    if (advanced) {
        check_allowed(&record, to, new_epoch);
        return;
    }
    g_assert_error(error, FERRY_ERROR, FERRY_ERROR_STATE);
    g_assert_nonnull(strstr(error->message, ferry_state_name(from)));
    g_assert_nonnull(strstr(error->message, ferry_state_name(to)));
    g_assert_cmpmem(&record, sizeof record, &before, sizeof before);
}

static void test_pairs(void)
{
    for (int from = 0; from < FERRY_N_STATES; from++)
        for (int to = 0; to < FERRY_N_STATES; to++)
            for (int step = 0; step < 2; step++)
                check_pair((FerryState)from, (FerryState)to, step);
}

// What the five rules ask for, said once without the table.
static void test_rules(void)
{
    g_assert_false(is_allowed(FERRY_SEALED, FERRY_CONSUMED, false)); // one resumption
    g_assert_false(is_allowed(FERRY_CONSUMED, FERRY_CONSUMED, true));
    g_assert_false(is_allowed(FERRY_CONSUMED, FERRY_SEALED, false));
    g_assert_false(is_allowed(FERRY_QUARANTINED, FERRY_CONSUMED, true));
    g_assert_false(is_allowed(FERRY_OFF, FERRY_SEALED, false));
    for (int from = 0; from < FERRY_N_STATES; from++)
        g_assert_cmpint(is_allowed((FerryState)from, FERRY_SEALED, false), ==,
                        from == FERRY_SAVING);
}

static void test_renewed(void)
{
    for (int from = 0; from < FERRY_N_STATES; from++) {
        FerryRecord record = record_in((FerryState)from);
        ferry_record_renew(&record, 12);
        g_assert_cmpint(record.state, ==, FERRY_OFF);
        g_assert_cmpuint(record.epoch, ==, 12);
        g_assert_cmpuint(record.image.descriptor_length, ==, 0);
        g_assert_cmpuint(record.definition_length, ==, 0);
        g_assert_cmpstr(record.peer, ==, "");
    }
}

static void test_older(void)
{
    const FerryRecord now = {.epoch = 5, .sequence = 20};
    g_assert_false(ferry_record_is_older(&now, &now));
    g_assert_true(ferry_record_is_older(&(FerryRecord){.epoch = 4, .sequence = 30}, &now));
    g_assert_true(ferry_record_is_older(&(FerryRecord){.epoch = 5, .sequence = 19}, &now));
    g_assert_false(ferry_record_is_older(&(FerryRecord){.epoch = 6, .sequence = 10}, &now));
}

static void test_names(void)
{
    for (int i = 0; i < FERRY_N_STATES; i++) {
        FerryState state;
        g_assert_true(ferry_state_from_name(ferry_state_name((FerryState)i), &state));
        g_assert_cmpint(state, ==, i);
        g_assert_cmpstr(ferry_state_text((FerryState)i), !=, "?");
    }
    FerryState untouched = FERRY_OFF;
    g_assert_false(ferry_state_from_name("melted", &untouched));
    g_assert_cmpint(untouched, ==, FERRY_OFF);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/record/pairs", test_pairs);
    g_test_add_func("/record/rules", test_rules);
    g_test_add_func("/record/renewed", test_renewed);
    g_test_add_func("/record/older", test_older);
    g_test_add_func("/record/names", test_names);
    return g_test_run();
}
