// SPDX-License-Identifier: GPL-2.0-or-later
// Starting a program in two steps: the child exists (its pid can be recorded) but runs the program
// only once released; when the caller dies in between, the child ends without having run anything.
// Safe in a multi-threaded process. Internal to hvcore.
#pragma once

#include "hvcore/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct {
    pid_t pid;
    int pidfd;
    int release;         // write end of the pipe the child waits on
    int result;          // read end of the pipe that carries exec's errno
    const char *program; // argv[0], borrowed
} HvSpawn;
#define HV_SPAWN_INIT                                                                              \
    {                                                                                              \
        0, -1, -1, -1, ""                                                                          \
    }

// ARGV is NULL-terminated, argv[0] an absolute path that lives as long as SPAWN. The child gets a
// session of its own, a clean environment, /dev/null as input, OUTPUT as stdout and stderr, and of
// all other descriptors only the N_FDS in FDS, with their numbers. HV_ERROR_START.
bool hv_spawn_prepare(char *const *argv, int output, const int *fds, size_t n_fds, HvSpawn *spawn,
                      GError **error);
// Lets the child run the program. On failure it is gone and reaped.
bool hv_spawn_release(HvSpawn *spawn, GError **error);
// Kills and reaps a child that was not released, closes what is open; safe after any failure.
void hv_spawn_clear(HvSpawn *spawn);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HvSpawn, hv_spawn_clear)
