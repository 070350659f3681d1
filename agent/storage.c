// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/storage.h"

#include "agent/storage_iscsi.h"
#include "agent/storage_lvm.h"
#include "agent/storage_tool.h"
#include "hvcore/filesystem.h"
#include "hvcore/mount_table.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

// --- each kind ---

static bool open_lun(const HvStorage *storage, StorageDevice *device, GError **error)
{
    g_auto(GStrv) paths = storage_device_paths(storage->wwid);
    if (paths[0] == NULL)
        return storage_refuse(error,
                              "this node sees no LUN %s; is it mapped to this node's ports? "
                              "(rescan-scsi-bus.sh, `lsblk -o NAME,WWN`)",
                              storage->wwid);
    return storage_device_choose(paths, device, error) &&
           storage_device_check(storage, device, error);
}

static bool check_directory(const HvStorage *storage, GError **error)
{
    g_autofree char *table = hv_mount_table();
    g_auto(HvMount) mount = {0};
    if (table == NULL)
        return storage_refuse(error, "/proc/self/mountinfo cannot be read");
    if (!hv_mount_at(table, storage->path, &mount))
        return storage_refuse(error,
                              "nothing is mounted at %s on this node: mount it, and see that it is "
                              "mounted at boot (/etc/fstab)",
                              storage->path);
    if (storage->source != NULL && strcmp(mount.source, storage->source) != 0)
        return storage_refuse(error, "at %s is %s mounted, not %s", storage->path, mount.source,
                              storage->source);
    return true;
}

static bool open_device(const HvStorage *storage, StorageDevice *device, char **down,
                        GError **error)
{
    switch (storage->type) {
    case HV_STORAGE_ISCSI:
        return storage_iscsi_open(storage, device, down, error);
    case HV_STORAGE_LV:
        return storage_lvm_open(storage, device, error);
    default:
        return open_lun(storage, device, error);
    }
}

static bool has_identity(const HvStorage *storage, GError **error)
{
    return storage->wwid != NULL ||
           storage_refuse(error,
                          "which device it is was never recorded; `vmferry define --update` with "
                          "its definition does that");
}

static bool make_device_available(const HvStorage *storage, bool needs_identity, GError **error)
{
    g_auto(StorageDevice) device = {0};
    g_autofree char *down = NULL;
    if (needs_identity && !has_identity(storage, error))
        return false;
    if (!open_device(storage, &device, &down, error))
        return false;
    if (down != NULL)
        g_warning("storage \"%s\" has fewer paths than it should: %s", storage->name, down);
    return storage_device_link(&device, storage->path, error);
}

// Mounted at another place by hand, it would be in use twice.
static bool is_mounted_nowhere_else(const HvDefinition *definition, const HvStorage *storage,
                                    GError **error)
{
    const HvStorage *on = hv_definition_storage(definition, storage->on);
    g_autofree char *table = hv_mount_table();
    g_auto(HvMount) mount = {0};
    struct stat status;
    if (table == NULL || stat(on->path, &status) != 0)
        return storage_refuse(error, "it cannot be found out whether it is mounted");
    if (!hv_mount_of(table, status.st_rdev, &mount) || strcmp(mount.point, storage->path) == 0)
        return true;
    return storage_refuse(error, "its device is mounted at %s on this node; unmount it",
                          mount.point);
}

static bool make_one_available(const HvDefinition *definition, const HvStorage *storage,
                               bool needs_identity, GError **error)
{
    bool available = storage->type == HV_STORAGE_DIRECTORY ? check_directory(storage, error)
                     : storage->type == HV_STORAGE_FILESYSTEM
                         ? is_mounted_nowhere_else(definition, storage, error)
                         : make_device_available(storage, needs_identity, error);
    if (!available)
        g_prefix_error(error, "storage \"%s\": ", storage->name);
    return available;
}

// Devices first: file systems are on them.
bool storage_make_available(const HvDefinition *definition, bool needs_identity, GError **error)
{
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < definition->n_storage; i++) {
            const HvStorage *storage = &definition->storage[i];
            if (hv_storage_is_block(storage) == (pass == 0) &&
                !make_one_available(definition, storage, needs_identity, error))
                return false;
        }
    return true;
}

bool storage_make_area_available(const HvDefinition *definition, GError **error)
{
    const HvStorage *storage =
        definition->state_storage != NULL
            ? hv_definition_storage(definition, definition->state_storage)
            : NULL;
    return storage == NULL || make_one_available(definition, storage, true, error);
}

// --- identity ---

static bool same_place(const HvStorage *a, const HvStorage *b)
{
    if (a == NULL || a->type != b->type || a->wwid == NULL)
        return false;
    return a->type == HV_STORAGE_ISCSI
               ? strcmp(a->target, b->target) == 0 && a->lun == b->lun
               : g_strcmp0(a->vg, b->vg) == 0 && g_strcmp0(a->lv, b->lv) == 0;
}

// The recorded identity counts; where there is none, what the device says now.
static HvDefinition *identify_one(const HvDefinition *definition, const HvStorage *storage,
                                  const HvStorage *before, GError **error)
{
    g_auto(StorageDevice) device = {0};
    bool known = storage->wwid == NULL && before != NULL && same_place(before, storage);
    uint64_t size_mib = storage->size_mib;
    if (storage->wwid != NULL && size_mib != 0)
        return hv_definition_ref(definition);
    if (!known && !open_device(storage, &device, NULL, error)) {
        g_prefix_error(error, "storage \"%s\": ", storage->name);
        return NULL;
    }
    const char *wwid = storage->wwid != NULL ? storage->wwid : known ? before->wwid : device.wwid;
    if (size_mib == 0)
        size_mib = known ? before->size_mib : device.bytes >> 20;
    return hv_definition_identify(definition, storage->name, wwid, size_mib, error);
}

HvDefinition *storage_identify(const HvDefinition *definition, const HvDefinition *before,
                               GError **error)
{
    g_autoptr(HvDefinition) known = hv_definition_ref(definition);
    for (size_t i = 0; i < definition->n_storage; i++) {
        const HvStorage *storage = &known->storage[i];
        if (!hv_storage_is_block(storage))
            continue;
        HvDefinition *next = identify_one(
            known, storage, before != NULL ? hv_definition_storage(before, storage->name) : NULL,
            error);
        if (next == NULL)
            return NULL;
        hv_definition_unref(known);
        known = next;
    }
    return g_steal_pointer(&known);
}

// --- file systems of the owner ---

bool storage_mount(const HvDefinition *definition, GError **error)
{
    for (size_t i = 0; i < definition->n_storage; i++) {
        const HvStorage *storage = &definition->storage[i];
        if (storage->type != HV_STORAGE_FILESYSTEM)
            continue;
        const HvStorage *on = hv_definition_storage(definition, storage->on);
        if (hv_filesystem_mount(definition->name, storage, on->path, error))
            continue;
        g_prefix_error(error, "storage \"%s\": ", storage->name);
        return false;
    }
    return true;
}

// An LV that stays active does no harm; another VM may use it.
static void deactivate(const HvDefinition *definition)
{
    for (size_t i = 0; i < definition->n_storage; i++) {
        g_autoptr(GError) error = NULL;
        if (definition->storage[i].type == HV_STORAGE_LV &&
            !storage_lvm_close(&definition->storage[i], &error))
            g_message("%s: storage \"%s\" stays active: %s", definition->name,
                      definition->storage[i].name, error->message);
    }
}

bool storage_give_back(const char *vm, const HvDefinition *definition, GError **error)
{
    if (!hv_filesystems_release(vm, error))
        return false;
    if (definition != NULL)
        deactivate(definition);
    return true;
}

bool storage_log_out(const HvDefinition *definition, GError **error)
{
    for (size_t i = 0; i < definition->n_storage; i++) {
        const HvStorage *storage = &definition->storage[i];
        if (storage->type != HV_STORAGE_ISCSI || storage_iscsi_close(storage, error))
            continue;
        g_prefix_error(error, "storage \"%s\": ", storage->name);
        return false;
    }
    return true;
}
