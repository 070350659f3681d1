// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/userfault.h"

#include "hvcore/process.h"

#include <string.h>

static bool is_userfault(const char *path)
{
    g_autofree char *target = g_file_read_link(path, NULL);
    return target && strcmp(target, "anon_inode:[userfaultfd]") == 0;
}

bool hv_userfault_closed(pid_t pid, int pidfd)
{
    g_autofree char *directory = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autoptr(GDir) dir = pid > 0 ? g_dir_open(directory, 0, NULL) : NULL;
    const char *name;
    bool any = false;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        any = true;
        if (is_userfault(path))
            return false;
    }
    // One that ends has none of its descriptors any more, and another one may have its number then.
    return any && !hv_process_wait_gone(pidfd, 0);
}
