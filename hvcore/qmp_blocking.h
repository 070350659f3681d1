// SPDX-License-Identifier: GPL-2.0-or-later
// A QMP conversation without a main loop, bounded by one deadline. Internal to hvcore.
#pragma once

#include "hvcore/error.h"
#include <jansson.h>
#include <stdbool.h>

typedef struct {
    int fd;
    GString *input;
    gint64 end_us; // g_get_monotonic_time
    bool joined;
} QmpBlocking;

// Connects and does the capabilities handshake. HV_ERROR_CLOSED, HV_ERROR_TIMEOUT.
bool qmp_blocking_open(QmpBlocking *qmp, const char *path, gint64 end_us, GError **error);
// The same for a monitor that shall take commands while QEMU's main loop is stuck.
bool qmp_blocking_open_oob(QmpBlocking *qmp, const char *path, gint64 end_us, GError **error);
// Takes FD, a conversation that others have begun, and may have left in the middle of a line: what
// does not answer our own commands is skipped.
void qmp_blocking_join(QmpBlocking *qmp, int fd, gint64 end_us);
void qmp_blocking_clear(QmpBlocking *qmp);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(QmpBlocking, qmp_blocking_clear)

// Gives one command without arguments; returns a new reference to its "return". HV_ERROR_QMP,
// HV_ERROR_TIMEOUT, HV_ERROR_CLOSED. Events are skipped.
json_t *qmp_blocking_execute(QmpBlocking *qmp, const char *command, GError **error);
// Out of band (qmp_blocking_open_oob); takes ARGUMENTS.
json_t *qmp_blocking_execute_oob(QmpBlocking *qmp, const char *command, json_t *arguments,
                                 GError **error);
