// SPDX-License-Identifier: GPL-2.0-or-later
// A small state area in memory with a true image, and inputs that change it in places. Checksums
// can be made right again behind the changes, from the innermost outwards, so that what stands
// behind them is reached, too.
#pragma once

#include "migrate/area_io.h"
#include "tests/fuzz/fuzz.h"

enum {
    FIXTURE_PAGES = 1100, // three index blocks, the last one in part
    FIXTURE_EPOCH = 5,
    FIXTURE_SAVE = 10, // the record's sequence when the save began
};
#define FIXTURE_UUID "11111111-2222-3333-4444-555555555555"
#define FIXTURE_DEFINITION "{\"name\":\"guest\"}"

// Makes the area, once.
void image_fixture_init(void);
const char *image_fixture_path(void);
// As it was made. SEALED: with the image's record, or with the one of the save under way.
void image_fixture_reset(bool sealed);
// Takes changes from INPUT and makes them; a byte says which checksums are made right behind them.
void image_fixture_change(FuzzInput *input);
// May cut the area short, as a byte says.
void image_fixture_cut(FuzzInput *input);
