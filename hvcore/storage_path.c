// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/storage_path.h"

#include <glib.h>

static char *run_directory;

void hv_storage_set_run_dir(const char *run_dir)
{
    g_free(run_directory);
    run_directory = g_strdup(run_dir);
}

static char *within(const char *vm, const char *prefix, const char *name)
{
    g_autofree char *file = g_strconcat(prefix, name, NULL);
    return g_build_filename(run_directory ? run_directory : "/run/vmferry", vm, file, NULL);
}

char *hv_storage_link(const char *vm, const char *name)
{
    return within(vm, "storage-", name);
}

char *hv_storage_mount_point(const char *vm, const char *name)
{
    return within(vm, "fs-", name);
}

char *hv_storage_note(const char *vm, const char *name)
{
    return within(vm, "mounted-", name);
}
