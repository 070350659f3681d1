// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/record.h"

#include <string.h>

static const char *const names[FERRY_N_STATES] = {
#define FERRY_STATE(id, name, text) [FERRY_##id] = name,
#define FERRY_EDGE(from, to, step, when)
#include "migrate/record_states.def"
#undef FERRY_STATE
#undef FERRY_EDGE
};

static const char *const texts[FERRY_N_STATES] = {
#define FERRY_STATE(id, name, text) [FERRY_##id] = text,
#define FERRY_EDGE(from, to, step, when)
#include "migrate/record_states.def"
#undef FERRY_STATE
#undef FERRY_EDGE
};

static const struct {
    FerryState from, to;
    bool new_epoch;
} edges[] = {
#define FERRY_STATE(id, name, text)
#define FERRY_EDGE(from, to, step, when) {FERRY_##from, FERRY_##to, step},
#include "migrate/record_states.def"
#undef FERRY_STATE
#undef FERRY_EDGE
};

const char *ferry_state_name(FerryState state)
{
    return (unsigned)state < FERRY_N_STATES ? names[state] : "?";
}

const char *ferry_state_text(FerryState state)
{
    return (unsigned)state < FERRY_N_STATES ? texts[state] : "?";
}

bool ferry_state_from_name(const char *name, FerryState *state)
{
    for (int i = 0; i < FERRY_N_STATES; i++) {
        if (strcmp(names[i], name) == 0) {
            *state = (FerryState)i;
            return true;
        }
    }
    return false;
}

static bool is_edge(FerryState from, FerryState to, bool new_epoch)
{
    for (size_t i = 0; i < G_N_ELEMENTS(edges); i++)
        if (edges[i].from == from && edges[i].to == to && edges[i].new_epoch == new_epoch)
            return true;
    return false;
}

bool ferry_record_advance(FerryRecord *record, FerryState to, bool new_epoch, const char *owner,
                          GError **error)
{
    if (!is_edge(record->state, to, new_epoch)) {
        g_set_error(error, FERRY_ERROR, FERRY_ERROR_STATE,
                    "the run record of %s must not go from %s to %s%s", record->vm,
                    ferry_state_name(record->state), ferry_state_name(to),
                    new_epoch ? " with a new epoch" : "");
        return false;
    }
    record->state = to;
    if (new_epoch)
        record->epoch++;
    if (owner != record->owner)
        g_strlcpy(record->owner, owner, sizeof(record->owner));
    bool keeps_image = to == FERRY_SEALED || to == FERRY_CONSUMED || to == FERRY_QUARANTINED;
    if (!keeps_image)
        record->image = (FerryImage){0};
    if (!keeps_image && to != FERRY_SAVING)
        record->definition_length = record->definition_crc32c = 0;
    if (to != FERRY_SAVING && to != FERRY_SEALED)
        record->peer[0] = '\0';
    return true;
}

bool ferry_record_is_older(const FerryRecord *record, const FerryRecord *other)
{
    return record->epoch < other->epoch ||
           (record->epoch == other->epoch && record->sequence < other->sequence);
}

void ferry_record_renew(FerryRecord *record, uint64_t epoch)
{
    record->state = FERRY_OFF;
    record->epoch = epoch;
    record->image = (FerryImage){0};
    record->definition_length = record->definition_crc32c = 0;
    record->peer[0] = '\0';
}
