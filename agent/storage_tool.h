// SPDX-License-Identifier: GPL-2.0-or-later
// Runs the programs that storage is made available with, and reads what the kernel tells. Internal
// to agent/storage*.c; blocking, on any thread.
#pragma once

#include "hvcore/error.h"

#include <stdbool.h>

// Put before /sys, /dev, /proc, /etc and /run: "" but in tests.
extern const char *storage_root;
// Where the programs are; NULL: the usual sbin and bin.
extern const char *storage_tools;
// How long a device may take to appear: 20 s but in tests.
extern unsigned storage_patience_ms;

// Runs ARGV (argv[0] without a directory), for DEADLINE_MS at most; then it is killed. False where
// it did not run to its end: HV_ERROR_RESOURCE "... is missing; install PACKAGE", HV_ERROR_TIMEOUT.
// Else *STATUS is its exit code and *OUTPUT (stdout and stderr, the caller frees; may be NULL) what
// it wrote.
bool storage_tool(const char *const *argv, const char *package, unsigned deadline_ms, int *status,
                  char **output, GError **error);
// The end of udev's queue, or DEADLINE_MS. What is missing afterwards is told by whoever looks for
// it.
void storage_settle(unsigned deadline_ms);

char *storage_path(const char *path); // below storage_root; the caller frees it
// The file's first line, without white space at its ends; NULL where there is none. The caller
// frees it.
char *storage_line(const char *path);
// Names in the directory; empty where there is none. Free with g_strfreev.
char **storage_names(const char *path);

// HV_ERROR_RESOURCE; returns false.
#define storage_refuse(error, ...) hv_refuse(error, HV_ERROR_RESOURCE, __VA_ARGS__)
