// SPDX-License-Identifier: GPL-2.0-or-later
// The run record: who owns a VM, in which epoch, and whether its saved memory may be loaded.
// docs/STATE-IMAGE.md has each byte. Plain data; no I/O here.
#pragma once

#include "migrate/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum {
#define FERRY_STATE(id, name, text) FERRY_##id,
#define FERRY_EDGE(from, to, step, when)
#include "migrate/record_states.def"
#undef FERRY_STATE
#undef FERRY_EDGE
    FERRY_N_STATES,
} FerryState;

const char *ferry_state_name(FerryState state);
const char *ferry_state_text(FerryState state);
bool ferry_state_from_name(const char *name, FerryState *state);

// Where the saved memory's descriptor is. All zero unless the state is SEALED, CONSUMED or
// QUARANTINED.
typedef struct {
    uint64_t descriptor_offset; // bytes from the start of the area
    uint32_t descriptor_length; // bytes
    uint32_t descriptor_crc32c;
    uint64_t ram_bytes;         // all RAM blocks together
    uint64_t present_pages;     // pages with data (4096 bytes each)
    uint32_t passes;
} FerryImage;

typedef struct FerryRecord {
    uint64_t sequence; // grows with each write; the area's business
    uint64_t epoch;    // grows with each start and each resumption
    FerryState state;
    char uuid[37];     // the VM's, text
    char vm[64];
    char owner[256];   // node name; who runs, or in SEALED who saved
    char peer[256];    // SAVING, SEALED: the target of the move under way; empty for a plain save
    char machine[64];  // QEMU machine type
    char qemu_version[32];
    char accelerator[16]; // the guest's CPU is not the same under another one
    char definition_digest[65];
    uint32_t definition_length;   // bytes of the definition kept with the image; 0 = none
    uint32_t definition_crc32c;
    int64_t written_at_ms; // CLOCK_REALTIME of the last write
    FerryImage image;
} FerryRecord;

// Turns RECORD into its next version, or FERRY_ERROR_STATE with both states named when the table in
// record_states.def has no such edge. Does what the edge says to the epoch; clears the image unless
// the new state keeps one (and the definition that belongs to it), and the peer unless the new state is SAVING or SEALED.
bool ferry_record_advance(FerryRecord *record, FerryState to, bool new_epoch, const char *owner,
                          GError **error);

// Whether RECORD was written before OTHER: records of one VM.
bool ferry_record_is_older(const FerryRecord *record, const FerryRecord *other);

// An admin gives up a record that is older than the VM (an older copy took the newer one's place): OFF
// in EPOCH, which is larger than any the VM had, whatever the record said.
void ferry_record_renew(FerryRecord *record, uint64_t epoch);
