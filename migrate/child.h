// SPDX-License-Identifier: GPL-2.0-or-later
// A helper process that reports JSON lines on its standard output and ends when its standard input
// does. Main-loop thread.
#pragma once

#include "migrate/error.h"
#include <jansson.h>

typedef struct FerryChild FerryChild;

// Callbacks may free the child; none is called afterwards.
typedef struct {
    // EVENT is borrowed.
    void (*event)(const char *name, json_t *event, gpointer data);
    // The process is gone and all its events were told. ERROR (borrowed) says how it ended.
    void (*ended)(const GError *error, gpointer data);
} FerryChildEvents;

// ARGV is NULL-terminated, its first entry a path. FERRY_ERROR_CHILD.
FerryChild *ferry_child_start(const char *const *argv, const FerryChildEvents *events,
                              gpointer data, GError **error);
// Sends COMMAND (taken) as a line; a child that is gone is told by `ended`.
void ferry_child_command(FerryChild *child, json_t *command);
// Lets it run on without us; no callback comes any more.
void ferry_child_leave(FerryChild *child);
void ferry_child_free(FerryChild *child); // kills it if it still runs
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FerryChild, ferry_child_free)

// The child's own words in an "error" event.
GError *ferry_child_error(json_t *event);
