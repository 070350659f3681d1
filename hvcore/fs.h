// SPDX-License-Identifier: GPL-2.0-or-later
// Small file helpers. Internal to hvcore.
#pragma once

#include <glib/gstdio.h>
#include <stdbool.h>

static inline void hv_close_fd(int *fd)
{
    if (*fd >= 0)
        (void)g_close(*fd, NULL);
    *fd = -1;
}
// An int that holds a file descriptor, or -1; closed at the end of its scope.
#define HV_AUTO_FD __attribute__((cleanup(hv_close_fd))) int

static inline int hv_steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

// Writes a new file beside PATH with mode 0600 and renames it over PATH.
bool hv_fs_replace(const char *path, const char *text, GError **error);
// Removes DIRECTORY and the plain files and sockets in it (no subdirectories).
bool hv_fs_remove_flat(const char *directory, GError **error);
// The last MAX bytes of the file, cut at a line's start; "" where there is none. Caller frees.
char *hv_fs_tail(const char *path, size_t max);
