// SPDX-License-Identifier: GPL-2.0-or-later
// The move's protocol: what source and target say to each other. Both sides are state machines that
// get events and call operations; transport, clock, storage and QEMU are handed in, so that a move
// runs whole against fakes.
#pragma once

#include "migrate/record.h"

typedef enum {
    FERRY_MESSAGE_REHEARSE, // source: can you take this VM? Prepare for it.
    FERRY_MESSAGE_READY,    // target: QEMU waits, everything was reached
    FERRY_MESSAGE_REFUSED,  // target: no; nothing is left here (reason)
    FERRY_MESSAGE_AHEAD,    // target: so much of the image that is being saved is loaded (bytes_read)
    FERRY_MESSAGE_SEALED,   // source: the image of `epoch` is durable; my guest is paused
    FERRY_MESSAGE_RUNNING,  // target: committed `epoch`; the VM is mine
    FERRY_MESSAGE_ABORT,    // source: give it up, if you have not committed
    FERRY_MESSAGE_ABORTED,  // target: I have not committed, never will, my QEMU is gone (reason)
    FERRY_N_MESSAGES,
} FerryMessageType;

typedef struct {
    FerryMessageType type;
    const char *move;         // the move's id, the same in all its messages
    const char *vm;
    uint64_t epoch;           // REHEARSE, SEALED: the source's; RUNNING: the new one
    const char *definition;   // REHEARSE: canonical JSON
    const char *machine;      // REHEARSE: QEMU's machine type
    const char *qemu_version; // REHEARSE
    const char *reason;       // REFUSED, ABORTED, ABORT; RUNNING: set when the guest did not start
    uint64_t bytes_read;      // RUNNING: from storage; AHEAD: of pages
    const char *mode;         // RUNNING: how it was loaded
    uint64_t held_us;         // RUNNING: how long it was kept back before it was sent
} FerryMessage;

const char *ferry_message_name(FerryMessageType type);
bool ferry_message_from_name(const char *name, FerryMessageType *type);

typedef enum {
    FERRY_PHASE_REHEARSE,
    FERRY_PHASE_READY,
    FERRY_PHASE_SAVE,
    FERRY_PHASE_PAUSE,
    FERRY_PHASE_LOAD,
    FERRY_PHASE_COMMIT,
    FERRY_PHASE_CLEAN,
    FERRY_PHASE_RETURN, // the source takes its guest back
} FerryPhase;
const char *ferry_phase_name(FerryPhase phase);

// Why a peer's silence is final.
typedef enum {
    FERRY_PEER_PROCESS_LEFT, // its agent is dead, the node is not: all its writes are over
    FERRY_PEER_NODE_LEFT,    // nothing is known of it until it is fenced
} FerryPeerLoss;
