// SPDX-License-Identifier: GPL-2.0-or-later
// A VM's state area: a file in a shared directory or a block device, same format in both
// (docs/STATE-IMAGE.md). All functions block on storage and may be called on any thread, one at a
// time for each FerryArea.
#pragma once

#include "migrate/record.h"

typedef struct FerryArea FerryArea;

// Bytes an area needs for a VM with MEMORY_MIB.
uint64_t ferry_area_size_needed(uint64_t memory_mib);

// Opens PATH for reading and writing, O_DIRECT where the file system has it. Touches nothing.
FerryArea *ferry_area_open(const char *path, GError **error);
void ferry_area_close(FerryArea *area);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryArea, ferry_area_close)

// Makes PATH a state area for the VM: creates the file where there is none (a block device must be
// there and large enough), writes an EMPTY record. An area that is already this VM's (same uuid) is
// left as it is, grown if it is a file and too small. FERRY_ERROR_OTHER_VM / FORMAT: it holds
// another VM's record or something else that is not blank, and is not touched; the message says how
// to clear it. FERRY_ERROR_IO with "no room": the file system has not enough; nothing is left behind.
bool ferry_area_prepare(const char *path, const char *uuid, const char *vm, uint64_t memory_mib,
                        GError **error);
// The same checks without writing.
bool ferry_area_check(const char *path, const char *uuid, uint64_t memory_mib, GError **error);

// Gives PATH back: removes the file, or wipes the headers of a block device. Only where it holds a
// record of UUID.
bool ferry_area_release(const char *path, const char *uuid, GError **error);

// The newer of the two header slots that are valid. FERRY_ERROR_FORMAT: neither is.
// FERRY_ERROR_CORRUPT: only one is, and the other one may have had the last word about saved memory
// (the valid one says saving, sealed or consumed). FERRY_ERROR_IO: a slot cannot be read.
bool ferry_area_read_record(FerryArea *area, FerryRecord *record, GError **error);
// For throwing saved memory away: the same without FERRY_ERROR_CORRUPT, which DAMAGED stands for. The
// next write goes over the damaged slot.
bool ferry_area_salvage_record(FerryArea *area, FerryRecord *record, bool *damaged, GError **error);

// Whether the area's newest record has the sequence EXPECTED, as ferry_area_write_record asks: before
// anything else is written. FERRY_ERROR_STATE: it has another one.
bool ferry_area_expect(FerryArea *area, uint64_t expected, GError **error);

// Keeps the definition that a save goes with: what is restored has to have the same hardware, however
// the VM's definition changes meanwhile. Sets RECORD's definition fields; durable with the record's
// next write. FERRY_ERROR_TOO_SMALL for more than FERRY_DEFINITION_MAX bytes.
bool ferry_area_write_definition(FerryArea *area, FerryRecord *record, const char *text,
                                 GError **error);
// The text; the caller frees it. FERRY_ERROR_CORRUPT.
char *ferry_area_read_definition(FerryArea *area, const FerryRecord *record, GError **error);

// Writes RECORD into the older slot with the next sequence and returns when it is durable (RECORD's
// sequence and written_at_ms are updated); RUNNING and CONSUMED go into both. EXPECTED is the sequence
// the caller's decision was based on: when the area's newest record has another one, FERRY_ERROR_STATE and nothing is written.
bool ferry_area_write_record(FerryArea *area, FerryRecord *record, uint64_t expected,
                             GError **error);
