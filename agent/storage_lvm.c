// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/storage_lvm.h"

#include "agent/storage_tool.h"

#include <jansson.h>
#include <string.h>

enum { LVM_MS = 30 * 1000 };

// {"report": [{"lv": [{...}]}]}; NULL where LVM knows no such LV. New reference.
static json_t *first_row(const char *text)
{
    json_t *root = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    json_t *report = json_array_get(json_object_get(root, "report"), 0);
    json_t *row = json_incref(json_array_get(json_object_get(report, "lv"), 0));
    json_decref(root);
    return row;
}

static json_t *look(const HvStorage *storage, GError **error)
{
    g_autofree char *name = g_strconcat(storage->vg, "/", storage->lv, NULL);
    const char *const argv[] = {"lvs",
                                "--reportformat",
                                "json",
                                "--options",
                                "vg_uuid,lv_uuid,lv_layout,vg_lock_type,vg_systemid",
                                "--foreign",
                                "--readonly",
                                name,
                                NULL};
    g_autofree char *output = NULL;
    int status;
    if (!storage_tool(argv, "lvm2", LVM_MS, &status, &output, error))
        return NULL;
    const char *begin = strchr(output, '{'); // warnings may come first
    json_t *row = status == 0 && begin != NULL ? first_row(begin) : NULL;
    if (row == NULL)
        storage_refuse(error,
                       "this node has no logical volume %s: are its LUNs there (`pvs`)? LVM says: "
                       "%.300s",
                       name, output);
    return row;
}

static const char *text(json_t *row, const char *key)
{
    const char *value = json_string_value(json_object_get(row, key));
    return value != NULL ? value : "";
}

static char *own_system_id(void)
{
    static const char *const argv[] = {"lvm", "systemid", NULL};
    char *output = NULL;
    int status;
    if (!storage_tool(argv, "lvm2", LVM_MS, &status, &output, NULL))
        return NULL;
    const char *colon = strchr(output, ':');
    char *id = g_strstrip(g_strdup(colon != NULL ? colon + 1 : ""));
    g_free(output);
    return id;
}

static bool is_shareable(const HvStorage *storage, json_t *row, GError **error)
{
    const char *owner = text(row, "vg_systemid"), *layout = text(row, "lv_layout");
    g_autofree char *own = *owner != '\0' ? own_system_id() : NULL;
    if (*owner != '\0' && g_strcmp0(owner, own) != 0)
        return storage_refuse(
            error,
            "the volume group %s belongs to the node with the system ID \"%s\": it is not "
            "shared. Give it a lock type (lvmlockd), or no system ID: vgchange "
            "--systemid \"\" %s",
            storage->vg, owner, storage->vg);
    if (strcmp(layout, "linear") == 0 || strcmp(layout, "striped") == 0)
        return true;
    return storage_refuse(
        error,
        "%s/%s is \"%s\": two nodes cannot use such an LV at the same time, as a move "
        "does; it has to be linear or striped",
        storage->vg, storage->lv, layout);
}

static bool activate(const HvStorage *storage, const char *how, GError **error)
{
    g_autofree char *name = g_strconcat(storage->vg, "/", storage->lv, NULL);
    const char *const argv[] = {"lvchange", "--activate", how, name, NULL};
    g_autofree char *output = NULL;
    int status;
    if (!storage_tool(argv, "lvm2", LVM_MS, &status, &output, error))
        return false;
    return status == 0 ||
           storage_refuse(error, "lvchange --activate %s %s failed: %.300s", how, name, output);
}

// The device-mapper's name for it: the UUIDs without their dashes.
static char *dm_uuid(json_t *row)
{
    g_autofree char *both = g_strconcat(text(row, "vg_uuid"), text(row, "lv_uuid"), NULL);
    g_auto(GStrv) parts = g_strsplit(both, "-", -1);
    g_autofree char *joined = g_strjoinv("", parts);
    return g_strconcat("LVM-", joined, NULL);
}

static bool find(const HvStorage *storage, json_t *row, StorageDevice *device, GError **error)
{
    g_autofree char *uuid = dm_uuid(row);
    g_auto(StorageDevice) found = {storage_device_by_uuid(uuid), g_strdup(uuid), 0};
    if (found.kernel_name == NULL)
        return storage_refuse(error, "%s/%s is active, but the kernel has no device %s",
                              storage->vg, storage->lv, uuid);
    found.bytes = storage_device_bytes(found.kernel_name);
    if (!storage_device_check(storage, &found, error))
        return false;
    *device = found;
    found = (StorageDevice){0};
    return true;
}

bool storage_lvm_open(const HvStorage *storage, StorageDevice *device, GError **error)
{
    json_t *row = look(storage, error);
    const char *lock = text(row, "vg_lock_type");
    bool locked = *lock != '\0' && strcmp(lock, "none") != 0;
    bool opened = row != NULL && is_shareable(storage, row, error) &&
                  activate(storage, locked ? "sy" : "y", error) &&
                  find(storage, row, device, error);
    json_decref(row);
    return opened;
}

bool storage_lvm_close(const HvStorage *storage, GError **error)
{
    return activate(storage, "n", error);
}
