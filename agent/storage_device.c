// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/storage_device.h"

#include "agent/storage_tool.h"
#include "hvcore/wwid.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    UDEV_MS = 40 * 1000, // a node that has just logged in has many devices to look at
    MULTIPATH_MS = 10 * 1000,
    LOOK_MS = 200,
    SECTOR = 512, // in /sys/block/*/size, whatever the device has
};

void storage_device_clear(StorageDevice *device)
{
    g_clear_pointer(&device->kernel_name, g_free);
    g_clear_pointer(&device->wwid, g_free);
}

static char *attribute(const char *kernel_name, const char *name)
{
    g_autofree char *path = g_build_filename("/sys/block", kernel_name, name, NULL);
    return storage_line(path);
}

char *storage_device_wwid(const char *kernel_name)
{
    static const char *const names[] = {"dm/uuid", "device/wwid", "wwid"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *found = attribute(kernel_name, names[i]);
        if (found != NULL && *found != '\0')
            return hv_wwid_normalize(found);
    }
    return NULL;
}

uint64_t storage_device_bytes(const char *kernel_name)
{
    g_autofree char *sectors = attribute(kernel_name, "size");
    return sectors != NULL ? g_ascii_strtoull(sectors, NULL, 10) * SECTOR : 0;
}

char *storage_device_by_uuid(const char *uuid)
{
    g_auto(GStrv) names = storage_names("/sys/block");
    for (char **name = names; *name != NULL; name++) {
        g_autofree char *found = attribute(*name, "dm/uuid");
        if (g_strcmp0(found, uuid) == 0)
            return g_strdup(*name);
    }
    return NULL;
}

static bool is_scsi(const char *kernel_name)
{
    g_autofree char *wwid = attribute(kernel_name, "device/wwid");
    return wwid != NULL;
}

char **storage_device_paths(const char *wwid)
{
    g_auto(GStrv) names = storage_names("/sys/block");
    g_autoptr(GStrvBuilder) paths = g_strv_builder_new();
    for (char **name = names; *name != NULL; name++) {
        g_autofree char *found = is_scsi(*name) ? storage_device_wwid(*name) : NULL;
        if (g_strcmp0(found, wwid) == 0)
            g_strv_builder_add(paths, *name);
    }
    return g_strv_builder_end(paths);
}

// --- one device of several paths ---

// The kernel reads the size and the identity anew. A path that does not run would answer late or never.
static void rescan(const char *path)
{
    g_autofree char *state = attribute(path, "device/state");
    g_autofree char *file =
        g_build_filename(storage_root, "/sys/block", path, "device/rescan", NULL);
    if (g_strcmp0(state, "running") != 0)
        return;
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "1", 1) != 1)
        g_debug("%s: %s", file, g_strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void run_quietly(const char *const *argv)
{
    int status;
    (void)storage_tool(argv, "multipath-tools", MULTIPATH_MS, &status, NULL, NULL);
}

static char *map_of(const char *wwid)
{
    g_autofree char *uuid = g_strconcat("mpath-", wwid, NULL);
    return storage_device_by_uuid(uuid);
}

// multipathd leaves a LUN alone whose WWID it does not know, and takes a path that it has left
// alone only when told to.
static char *make_map(const char *wwid, char *const *paths)
{
    g_autofree char *device = g_strconcat("/dev/", paths[0], NULL);
    run_quietly((const char *const[]){"multipath", "-a", device, NULL});
    for (char *const *path = paths; *path != NULL; path++)
        run_quietly((const char *const[]){"multipathd", "add", "path", *path, NULL});
    gint64 end_us = g_get_monotonic_time() + (gint64)storage_patience_ms * 1000;
    char *map;
    while ((map = map_of(wwid)) == NULL && g_get_monotonic_time() < end_us)
        g_usleep(LOOK_MS * 1000);
    return map;
}

static void resize_map(const char *map, const char *path)
{
    g_autofree char *name = attribute(map, "dm/name");
    const char *const argv[] = {"multipathd", "resize", "map", name, NULL};
    if (name != NULL && storage_device_bytes(map) != storage_device_bytes(path))
        run_quietly(argv);
}

// A device that is new to the kernel may be there before its identity is: the target answers the first
// question with a reset that has occurred.
static char *wwid_in_time(const char *path)
{
    gint64 end_us = g_get_monotonic_time() + (gint64)storage_patience_ms * 1000;
    char *wwid;
    while ((wwid = storage_device_wwid(path)) == NULL && g_get_monotonic_time() < end_us) {
        g_usleep(LOOK_MS * 1000);
        rescan(path);
    }
    return wwid;
}

// The paths are of one LUN, or the target's portals are not of one target.
static char *common_wwid(char *const *paths, GError **error)
{
    g_autofree char *wwid = wwid_in_time(paths[0]);
    if (wwid == NULL) {
        storage_refuse(error,
                       "%s has no WWID: the target does not tell what it is (VPD page 0x83), and "
                       "it could not be told from another",
                       paths[0]);
        return NULL;
    }
    for (char *const *path = paths + 1; *path != NULL; path++) {
        g_autofree char *other = wwid_in_time(*path);
        if (g_strcmp0(wwid, other) == 0)
            continue;
        storage_refuse(
            error,
            "its paths lead to different LUNs: %s is %s, %s is %s; do all portals belong "
            "to one target?",
            paths[0], wwid, *path, other != NULL ? other : "nothing known");
        return NULL;
    }
    return g_steal_pointer(&wwid);
}

bool storage_device_choose(char *const *paths, StorageDevice *device, GError **error)
{
    g_autofree char *wwid = common_wwid(paths, error);
    if (wwid == NULL)
        return false;
    for (char *const *path = paths; *path != NULL; path++)
        rescan(*path);
    g_autofree char *map = map_of(wwid);
    if (map == NULL && paths[1] != NULL)
        map = make_map(wwid, paths);
    if (map == NULL && paths[1] != NULL)
        return storage_refuse(
            error,
            "%s has several paths (%s, %s), but no multipath device: install "
            "multipath-tools and see why `multipath -v3 /dev/%s` makes none, or give "
            "it one portal",
            wwid, paths[0], paths[1], paths[0]);
    if (map != NULL)
        resize_map(map, paths[0]);
    const char *chosen = map != NULL ? map : paths[0];
    *device =
        (StorageDevice){g_strdup(chosen), g_steal_pointer(&wwid), storage_device_bytes(chosen)};
    return true;
}

// --- is it the one? ---

bool storage_device_check(const HvStorage *storage, const StorageDevice *device, GError **error)
{
    if (storage->wwid != NULL && strcmp(storage->wwid, device->wwid) != 0)
        return storage_refuse(
            error,
            "%s is %s, but %s is recorded: it is another LUN. If it was replaced on "
            "purpose, write the new wwid into the definition (`vmferry define "
            "--update`)",
            device->kernel_name, device->wwid, storage->wwid);
    if (device->bytes == 0)
        return storage_refuse(error, "%s (%s) has no size: does any path to it work?",
                              device->kernel_name, device->wwid);
    if (device->bytes >> 20 < storage->size_mib)
        return storage_refuse(error,
                              "%s (%s) has %" PRIu64 " MiB, but %" PRIu64 " MiB are recorded "
                              "(size_mib): it is too small. Enlarge the LUN; a guest's disk must "
                              "never shrink",
                              device->kernel_name, device->wwid, device->bytes >> 20,
                              storage->size_mib);
    return true;
}

// --- the link ---

static bool leads_to(const char *link, const char *kernel_name)
{
    char *real = realpath(link, NULL);
    g_autofree char *name = real != NULL ? g_path_get_basename(real) : NULL;
    free(real);
    return g_strcmp0(name, kernel_name) == 0;
}

// udev's names by identity. A device node's own name may be another device's after the next
// reconnection.
static char *name_by_identity(const StorageDevice *device)
{
    g_autofree char *uuid = attribute(device->kernel_name, "dm/uuid");
    const char *digits = device->wwid[0] == '3' ? device->wwid + 1 : device->wwid;
    g_autofree char *map = uuid != NULL ? g_strconcat("dm-uuid-", uuid, NULL) : NULL;
    g_autofree char *scsi = g_strconcat("scsi-", device->wwid, NULL);
    g_autofree char *wwn = g_strconcat("wwn-0x", digits, NULL);
    const char *const names[] = {scsi, wwn};
    if (map != NULL) {
        g_autofree char *path = g_build_filename(storage_root, "/dev/disk/by-id", map, NULL);
        return leads_to(path, device->kernel_name) ? g_steal_pointer(&path) : NULL;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(storage_root, "/dev/disk/by-id", names[i], NULL);
        if (leads_to(path, device->kernel_name))
            return g_steal_pointer(&path);
    }
    return NULL;
}

static bool replace_link(const char *target, const char *path, GError **error)
{
    g_autofree char *directory = g_path_get_dirname(path);
    g_autofree char *fresh = g_strconcat(path, ".new", NULL);
    char before[4096];
    ssize_t length = readlink(path, before, sizeof(before) - 1);
    if (length > 0 && strlen(target) == (size_t)length &&
        memcmp(before, target, (size_t)length) == 0)
        return true;
    if (g_mkdir_with_parents(directory, 0700) == 0 && (unlink(fresh) == 0 || errno == ENOENT) &&
        symlink(target, fresh) == 0 && rename(fresh, path) == 0)
        return true;
    return storage_refuse(error, "%s cannot be made a link to %s: %s", path, target,
                          g_strerror(errno));
}

bool storage_device_link(const StorageDevice *device, const char *path, GError **error)
{
    g_autofree char *name = name_by_identity(device);
    if (name == NULL) {
        storage_settle(UDEV_MS);
        name = name_by_identity(device);
    }
    if (name == NULL)
        return storage_refuse(error,
                              "%s is there, but udev has no link to it by its identity (%s) in "
                              "/dev/disk/by-id; does udev run? (`udevadm trigger`)",
                              device->kernel_name, device->wwid);
    return replace_link(name, path, error);
}
