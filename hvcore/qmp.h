// SPDX-License-Identifier: GPL-2.0-or-later
// QMP client on the default GMainContext. Internal to hvcore: nothing above it sees QEMU's JSON.
//
// All callbacks run from the main loop, never from within a qmp_ function, and may call any qmp_
// function including qmp_client_free. Replies are matched by id; one that matches nothing, or a
// line that is no JSON or too long, ends the connection.
#pragma once

#include "hvcore/error.h"
#include <jansson.h>

enum { QMP_HANDSHAKE_MS = 60 * 1000 }; // QEMU opens its disks before it greets

typedef struct QmpClient QmpClient;

// RESULT is borrowed ("return"), NULL on error. ERROR: HV_ERROR_QMP (QEMU's class and words),
// HV_ERROR_TIMEOUT, HV_ERROR_CLOSED.
typedef void (*QmpReplyFn)(json_t *result, const GError *error, gpointer data);
// EVENTDATA is borrowed and may be NULL.
typedef void (*QmpEventFn)(json_t *event_data, gpointer data);
// The connection ended; all commands under way have had their reply. Called at most once.
typedef void (*QmpClosedFn)(const GError *error, gpointer data);

typedef struct {
    const char *name;
    QmpEventFn handler;
} QmpEvent;

// Takes FD, a connected socket. EVENTS is sorted by name (strcmp) and outlives the client; events
// that are not in it are ignored. The capabilities handshake is done by itself; commands given
// before its end wait for it.
QmpClient *qmp_client_new(int fd, const QmpEvent *events, size_t n_events, QmpClosedFn closed,
                          gpointer data);
// Closes the connection. Calls nothing but the destroy functions of commands under way.
void qmp_client_free(QmpClient *client);

// Takes ARGUMENTS (may be NULL). REPLY is called exactly once, unless the client is freed first;
// DESTROY (may be NULL) is called on DATA in both cases.
void qmp_client_execute(QmpClient *client, const char *command, json_t *arguments,
                        unsigned deadline_ms, QmpReplyFn reply, gpointer data,
                        GDestroyNotify destroy);
// Handles what the peer has still sent and then ends the connection, as if the peer had closed it:
// for a peer that is known to be dead. To be called from the main loop; callbacks run.
void qmp_client_drain(QmpClient *client);
