// SPDX-License-Identifier: GPL-2.0-or-later
// CRC-32C (Castagnoli, RFC 3720), by SSE4.2 where the CPU has it. Any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Continues CRC (0 to begin) over LENGTH bytes.
uint32_t ferry_crc32c(uint32_t crc, const void *data, size_t length);
// The portable way, for the test that compares both.
uint32_t ferry_crc32c_portable(uint32_t crc, const void *data, size_t length);
