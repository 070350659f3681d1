// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's migration stream from an input: as it is, or built of a stream's words, so that pages of
// 4 KiB cost an input a few bytes.
#pragma once

#include "tests/fuzz/fuzz.h"

// The stream; the caller frees. INPUT is used up.
GByteArray *stream_script(FuzzInput *input);
