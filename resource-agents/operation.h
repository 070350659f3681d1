// SPDX-License-Identifier: GPL-2.0-or-later
// One operation as Pacemaker asks for it: by the first argument and the environment (OCF 1.1).
#pragma once

#include <glib.h>
#include <stdbool.h>

enum { OPERATION_MARGIN_MS = 5000 }; // left before Pacemaker's own timeout

typedef struct {
    const char *action;
    char *vm;               // the resource's name without a clone's suffix
    const char *definition; // "" where the parameter is missing
    const char *run_dir;
    const char *peer; // migrate_to: the target, migrate_from: the source; else NULL
    bool probe;
    bool deep;          // OCF_CHECK_LEVEL asks for more than a syntax check
    gint64 deadline_us; // monotonic: Pacemaker's timeout
    gint64 end_us;      // when to have answered, before Pacemaker kills us
} Operation;

// Returns an OCF code; for all but OCF_SUCCESS the reason is told and OPERATION is to be cleared
// all the same. Strings other than VM borrow from the environment.
int operation_read(Operation *operation, const char *action, unsigned default_timeout_ms);
void operation_clear(Operation *operation);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Operation, operation_clear)

// Milliseconds from now to MONOTONIC_US; 0 when it is over.
unsigned operation_left_ms(gint64 monotonic_us);

// Tells Pacemaker, and whoever reads stderr, why the exit code is not 0.
void operation_reason(const char *format, ...) G_GNUC_PRINTF(1, 2);
