// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/logs.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const logs[] = {"qemu.log", "console.log"};

void hv_logs_bound(const char *vm_dir, uint64_t max)
{
    for (size_t i = 0; i < G_N_ELEMENTS(logs); i++) {
        g_autofree char *path = g_build_filename(vm_dir, logs[i], NULL);
        struct stat status;
        if (stat(path, &status) == 0 && (uint64_t)status.st_size > max && truncate(path, 0) < 0)
            g_debug("%s: %s", path, g_strerror(errno));
    }
}

void hv_logs_rotate(const char *vm_dir)
{
    for (size_t i = 0; i < G_N_ELEMENTS(logs); i++) {
        g_autofree char *path = g_build_filename(vm_dir, logs[i], NULL);
        g_autofree char *old = g_strconcat(path, ".old", NULL);
        (void)rename(path, old);
    }
}
