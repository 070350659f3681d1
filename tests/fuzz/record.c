// SPDX-License-Identifier: GPL-2.0-or-later
// The state area's header: two slots of which the newer valid one counts. What is accepted is
// whole, and what is written over it is read again.
#include "tests/fuzz/fuzz.h"

#include "tests/fuzz/image_fixture.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    image_fixture_init();
    return 0;
}

static void check_text(const char *text, size_t size, const char *what)
{
    FUZZ_REQUIRE(memchr(text, '\0', size) != NULL, "%s has no end", what);
    FUZZ_REQUIRE(g_utf8_validate(text, -1, NULL), "%s is not UTF-8", what);
}

static void check_texts(const FerryRecord *record)
{
    check_text(record->uuid, sizeof record->uuid, "uuid");
    check_text(record->vm, sizeof record->vm, "vm");
    check_text(record->owner, sizeof record->owner, "owner");
    check_text(record->peer, sizeof record->peer, "peer");
    check_text(record->machine, sizeof record->machine, "machine");
    check_text(record->qemu_version, sizeof record->qemu_version, "qemu_version");
    check_text(record->accelerator, sizeof record->accelerator, "accelerator");
    check_text(record->definition_digest, sizeof record->definition_digest, "digest");
}

// Printed and read again it is the same.
static void check_accepted(const FerryRecord *record)
{
    g_autoptr(GError) error = NULL;
    uint8_t bytes[FERRY_SLOT], again_bytes[FERRY_SLOT];
    FerryRecord again;
    FUZZ_REQUIRE(record->state >= 0 && record->state < FERRY_N_STATES, "state %d",
                 (int)record->state);
    check_texts(record);
    ferry_record_encode(record, bytes);
    FUZZ_REQUIRE(ferry_record_decode(&again, bytes, &error), "%s", error->message);
    ferry_record_encode(&again, again_bytes);
    FUZZ_REQUIRE(memcmp(bytes, again_bytes, sizeof bytes) == 0, "encoded anew as something else");
}

static void check_advance(const FerryRecord *record, uint8_t how)
{
    g_autoptr(GError) error = NULL;
    FerryRecord next = *record;
    bool step = how & 0x80;
    if (!ferry_record_advance(&next, (FerryState)(how % FERRY_N_STATES), step, "n2", &error)) {
        fuzz_check_error(false, error);
        FUZZ_REQUIRE(memcmp(&next, record, sizeof next) == 0, "changed in spite of an error");
        return;
    }
    FUZZ_REQUIRE(next.epoch == record->epoch + step, "the epoch");
}

static void check_write(FerryArea *area, const FerryRecord *record)
{
    g_autoptr(GError) error = NULL, wrong = NULL;
    FerryRecord next = *record, again;
    next.state = FERRY_OFF;
    FUZZ_REQUIRE(!ferry_area_write_record(area, &next, record->sequence + 1, &wrong),
                 "written by an older decision");
    fuzz_check_error(false, wrong);
    if (record->sequence == G_MAXUINT64)
        return;
    FUZZ_REQUIRE(ferry_area_write_record(area, &next, record->sequence, &error), "%s",
                 error->message);
    FUZZ_REQUIRE(ferry_area_read_record(area, &again, &error), "%s", error->message);
    FUZZ_REQUIRE(again.sequence == record->sequence + 1 && again.state == FERRY_OFF &&
                     again.epoch == record->epoch,
                 "read anew as something else");
}

static void read_area(FerryArea *area, uint8_t how)
{
    g_autoptr(GError) error = NULL, salvage_error = NULL, definition_error = NULL;
    FerryRecord record, salvaged;
    bool damaged;
    bool whole = ferry_area_read_record(area, &record, &error);
    fuzz_check_error_names(whole, error, image_fixture_path());
    bool found = ferry_area_salvage_record(area, &salvaged, &damaged, &salvage_error);
    fuzz_check_error_names(found, salvage_error, image_fixture_path());
    FUZZ_REQUIRE(!whole || (found && !damaged), "whole, and yet damaged");
    if (!found)
        return;
    check_accepted(&salvaged);
    check_advance(&salvaged, how);
    g_autofree char *text = ferry_area_read_definition(area, &salvaged, &definition_error);
    fuzz_check_error(text != NULL, definition_error);
    check_write(area, &salvaged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL, check_error = NULL;
    FuzzInput input = {data, size};
    uint8_t how = fuzz_u8(&input);
    image_fixture_reset(how & 1);
    image_fixture_change(&input);
    image_fixture_cut(&input);
    bool fits = ferry_area_check(image_fixture_path(), FIXTURE_UUID, 0, &check_error);
    fuzz_check_error_names(fits, check_error, image_fixture_path());
    g_autoptr(FerryArea) area = ferry_area_open(image_fixture_path(), &error);
    FUZZ_REQUIRE(area != NULL, "%s", error->message);
    read_area(area, how >> 1 | (how << 7 & 0x80));
    return 0;
}
