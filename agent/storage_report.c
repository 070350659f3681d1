// SPDX-License-Identifier: GPL-2.0-or-later
// How a VM's storage is on this node now: devices, sessions, paths. Changes nothing.
#include "agent/storage.h"

#include "agent/storage_device.h"
#include "agent/storage_session.h"
#include "agent/storage_tool.h"
#include "hvcore/filesystem.h"
#include "hvcore/mount_table.h"

#include <stdlib.h>
#include <string.h>

enum { MULTIPATHD_MS = 4 * 1000 };

static void set(json_t *entry, const char *key, const char *value)
{
    json_object_set_new(entry, key, value != NULL ? json_string(value) : json_null());
}

static void set_problem(json_t *entry, const char *state, const char *problem)
{
    set(entry, "state", state);
    set(entry, "problem", problem);
}

// --- paths ---

static void add_path(json_t *paths, const char *name, const char *portal, const char *state,
                     bool up)
{
    json_array_append_new(paths, json_pack("{s:s*, s:s*, s:s, s:b}", "name", name, "portal", portal,
                                           "state", state, "up", up));
}

static void add_sessions(json_t *paths, const HvStorage *storage)
{
    g_autoptr(GPtrArray) sessions = storage_sessions(storage->target);
    for (char **portal = storage->portals; *portal != NULL; portal++) {
        const StorageSession *session = storage_session_find(sessions, *portal);
        g_autofree char *disk =
            session != NULL ? storage_session_disk(session, storage->lun) : NULL;
        bool up = session != NULL && storage_session_is_up(session);
        const char *state = session == NULL          ? "no session"
                            : session->state == NULL ? "unknown"
                            : up && disk == NULL     ? "no such LUN"
                                                     : session->state;
        add_path(paths, disk, *portal, state, up && disk != NULL);
    }
}

static const char *word(json_t *path, const char *key)
{
    const char *value = json_string_value(json_object_get(path, key));
    return value != NULL ? value : "";
}

// As multipathd tells of one map.
static void add_map_paths(json_t *paths, json_t *map)
{
    size_t i, j;
    json_t *group, *path;
    json_array_foreach (json_object_get(map, "path_groups"), i, group)
        json_array_foreach (json_object_get(group, "paths"), j, path) {
            const char *dm = word(path, "dm_st"), *checker = word(path, "chk_st");
            g_autofree char *state = g_strdup_printf("%s %s", dm, checker);
            add_path(paths, word(path, "dev"), NULL, state,
                     strcmp(dm, "active") == 0 &&
                         (strcmp(checker, "ready") == 0 || strcmp(checker, "ghost") == 0));
        }
}

static void add_multipath(json_t *paths, const char *kernel_name)
{
    g_autofree char *file = g_build_filename("/sys/block", kernel_name, "dm/name", NULL);
    g_autofree char *name = storage_line(file);
    const char *const argv[] = {"multipathd", "show", "map", name, "json", NULL};
    g_autofree char *output = NULL;
    int status;
    if (name == NULL ||
        !storage_tool(argv, "multipath-tools", MULTIPATHD_MS, &status, &output, NULL) ||
        status != 0)
        return;
    json_t *root = json_loads(output, 0, NULL);
    add_map_paths(paths, json_object_get(root, "map"));
    json_decref(root);
}

static size_t count_down(json_t *paths)
{
    size_t index, down = 0;
    json_t *path;
    json_array_foreach (paths, index, path)
        down += !json_is_true(json_object_get(path, "up"));
    return down;
}

// --- entries ---

static char *kernel_name_of(const char *link)
{
    char *real = realpath(link, NULL);
    char *name = real != NULL ? g_path_get_basename(real) : NULL;
    free(real);
    return name;
}

static void report_device(json_t *entry, const HvStorage *storage, const char *kernel_name)
{
    g_autoptr(GError) error = NULL;
    g_auto(StorageDevice) device = {g_strdup(kernel_name), storage_device_wwid(kernel_name),
                                    storage_device_bytes(kernel_name)};
    if (device.wwid == NULL)
        device.wwid = g_strdup("nothing known");
    set(entry, "device", kernel_name);
    set(entry, "wwid", device.wwid);
    json_object_set_new(entry, "size_mib", json_integer((json_int_t)(device.bytes >> 20)));
    if (storage_device_check(storage, &device, &error))
        set_problem(entry, "ready", NULL);
    else
        set_problem(entry, "failed", error->message);
}

static void report_block(json_t *entry, const HvStorage *storage)
{
    json_t *paths = json_object_get(entry, "paths");
    g_autofree char *kernel_name = kernel_name_of(storage->path);
    if (storage->type == HV_STORAGE_ISCSI)
        add_sessions(paths, storage);
    if (kernel_name == NULL) {
        set_problem(entry, "absent", NULL);
        return;
    }
    report_device(entry, storage, kernel_name);
    if (json_array_size(paths) == 0)
        add_multipath(paths, kernel_name);
    size_t down = count_down(paths), all = json_array_size(paths);
    if (down == 0 || json_object_get(entry, "problem") != json_null())
        return;
    g_autofree char *problem =
        g_strdup_printf("%zu of its %zu paths %s down", down, all, down == 1 ? "is" : "are");
    set_problem(entry, down == all ? "failed" : "degraded", problem);
}

static void report_mount(json_t *entry, const HvStorage *storage)
{
    g_autofree char *table = hv_mount_table();
    g_auto(HvMount) mount = {0};
    bool mounted = table != NULL && hv_mount_at(table, storage->path, &mount);
    bool directory = storage->type == HV_STORAGE_DIRECTORY;
    bool other = mounted && storage->source != NULL && strcmp(mount.source, storage->source) != 0;
    g_autofree char *problem = other ? g_strdup_printf("%s is mounted at %s, not %s", mount.source,
                                                       storage->path, storage->source)
                                     : g_strdup_printf("nothing is mounted at %s", storage->path);
    json_object_set_new(entry, "mounted", json_boolean(mounted));
    set(entry, "device", mount.source);
    if (directory && (other || !mounted))
        set_problem(entry, "failed", problem);
    else
        set_problem(entry, mounted ? "ready" : "absent", NULL);
}

json_t *storage_report(const HvDefinition *definition)
{
    json_t *report = json_array();
    for (size_t i = 0; i < definition->n_storage; i++) {
        const HvStorage *storage = &definition->storage[i];
        json_t *entry =
            json_pack("{s:s, s:s, s:s, s:n, s:n, s:n, s:[], s:n}", "name", storage->name, "type",
                      hv_storage_type_name(storage->type), "path", storage->path, "device", "wwid",
                      "size_mib", "paths", "problem");
        if (hv_storage_is_block(storage))
            report_block(entry, storage);
        else
            report_mount(entry, storage);
        json_array_append_new(report, entry);
    }
    return report;
}
