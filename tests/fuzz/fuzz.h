// SPDX-License-Identifier: GPL-2.0-or-later
// What the fuzz targets share: findings that are no crash, the error contract, and an input taken
// apart piece by piece. One thread.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// libFuzzer's: one input. DATA is borrowed for the call; returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
// libFuzzer's: once, before the first input. Targets without it need nothing. Returns 0.
int LLVMFuzzerInitialize(int *argc, char ***argv);

// Ends the program; libFuzzer keeps the input as a reproducer.
void fuzz_finding(const char *file, int line, const char *format, ...) G_GNUC_NORETURN
    G_GNUC_PRINTF(3, 4);
#define FUZZ_REQUIRE(condition, ...)                                                               \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_finding(__FILE__, __LINE__, __VA_ARGS__);                                         \
    } while (0)

// The error contract: ERROR is set if and only if not OK; its message is UTF-8 and says something.
void fuzz_check_error(bool ok, const GError *error);
// The same, and a message that is set names THING and a reason. Not where it ends with a peer's own
// words, which may be any.
void fuzz_check_error_names(bool ok, const GError *error, const char *thing);

// Log messages are thrown away; one of level critical or error is a finding.
void fuzz_log_quietly(void);

// --- an input, from its front ---
typedef struct {
    const uint8_t *data;
    size_t size; // left
} FuzzInput;

// 0 behind the end.
uint8_t fuzz_u8(FuzzInput *input);
uint16_t fuzz_u16(FuzzInput *input);
uint32_t fuzz_u32(FuzzInput *input);
// Up to SIZE bytes, borrowed; TAKEN says how many there were.
const uint8_t *fuzz_bytes(FuzzInput *input, size_t size, size_t *taken);
// All that is left, with a zero byte behind it. The caller frees.
char *fuzz_rest(FuzzInput *input);

// The file at PATH becomes these bytes and nothing else.
void fuzz_write_file(const char *path, const uint8_t *data, size_t size);

// --- for targets with a main loop ---
// Runs the default main context until nothing is to be done at once, a limited number of times.
void fuzz_run_loop(void);
// Remembers which sources there are, and removes those that came since.
guint fuzz_sources_mark(void);
void fuzz_sources_drop(guint mark);
