// SPDX-License-Identifier: GPL-2.0-or-later
// The QEMU guest agent's protocol (QEMU's docs/interop/qemu-ga-ref): one command at a time to the
// program in a guest. Whatever the guest answers, this ends: each answer has a deadline, a line and the
// whole talk a length. Main-loop thread; nothing blocks.
#pragma once

#include "agent/error.h"
#include <jansson.h>

typedef struct Qga Qga;

// The answer, called once for each command, from the main loop; may free the Qga. VALUE (borrowed): what
// the guest returned; NULL with ERROR (borrowed):
// - AGENT_ERROR_REFUSED: the guest's own error, in its words, made printable; the talk may go on.
// - AGENT_ERROR_TIMEOUT (silence), AGENT_ERROR_FAILED (anything else): the talk is over.
typedef void (*QgaFn)(const json_t *value, const GError *error, gpointer data);

enum { QGA_ANSWER_MS = 30 * 1000, QGA_TIMES_ONCE_THERE = 3 };
// For the first answer: QGA_ANSWER_MS, less in tests; QGA_TIMES_ONCE_THERE times as long for others.
extern unsigned qga_patience_ms;

// Connects to the unix socket at PATH, QEMU's end of the port, and agrees with the guest on where
// answers begin: what an earlier talk left in the channel is thrown away. SYNCED's VALUE is of no use.
// NULL (HV_ERROR_CLOSED): QEMU does not listen.
Qga *qga_open(const char *path, QgaFn synced, gpointer data, GError **error);
// Takes ARGUMENTS (may be NULL). Not before the answer to the one before has come. COMMAND is static.
void qga_ask(Qga *qga, const char *command, json_t *arguments, QgaFn done, gpointer data);
// No callback comes any more. NULL is fine.
void qga_free(Qga *qga);
