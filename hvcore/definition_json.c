// SPDX-License-Identifier: GPL-2.0-or-later
// A definition back to JSON, its digest, and what differs between two.
#include "hvcore/definition_keys.h"
#include "hvcore/definition_private.h"
#include "hvcore/definition_storage.h"

#include <string.h>

static void set_string(json_t *object, const char *key, const char *value)
{
    if (value)
        json_object_set_new(object, key, json_string(value));
}

static void set_number(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void set_limit(json_t *object, const char *key, uint64_t value)
{
    if (value)
        set_number(object, key, value);
}

static json_t *boot_as_json(const HvDefinition *definition)
{
    json_t *boot = json_object();
    set_string(boot, "kernel", definition->kernel);
    set_string(boot, "initrd", definition->initrd);
    set_string(boot, "cmdline", definition->cmdline);
    return boot;
}

static json_t *disk_as_json(const HvDisk *disk)
{
    static const char *const types[] = {"file", "block", "iscsi"};
    json_t *object = json_object();
    set_string(object, "id", disk->id);
    set_string(object, "type", types[disk->type]);
    set_string(object, "storage", disk->storage);
    if (disk->storage)
        set_string(object, "path", disk->inside);
    else
        set_string(object, disk->type == HV_DISK_ISCSI ? "url" : "path", disk->path);
    set_string(object, "format", disk->format);
    json_object_set_new(object, "read_only", json_boolean(disk->read_only));
    return object;
}

static json_t *nic_as_json(const HvNic *nic)
{
    json_t *object = json_object();
    set_string(object, "id", nic->id);
    set_string(object, "bridge", nic->bridge);
    set_string(object, "mac", nic->mac);
    set_string(object, "model", nic->model);
    return object;
}

static json_t *resources_as_json(const HvResources *resources)
{
    json_t *object = json_object();
    set_limit(object, "cpu_weight", resources->cpu_weight);
    set_limit(object, "io_weight", resources->io_weight);
    set_limit(object, "memory_max_mib", resources->memory_max_mib);
    return object;
}

static json_t *state_area_as_json(const HvDefinition *definition)
{
    json_t *object = json_object();
    set_string(object, "storage", definition->state_storage);
    set_string(object, "path", definition->state_inside);
    return object;
}

json_t *hv_definition_as_json(const HvDefinition *definition)
{
    static const char *const on_stops[] = {"save", "shutdown", "poweroff"};
    json_t *root = json_object(), *disks = json_array(), *nics = json_array();
    json_t *storage = json_array();
    set_string(root, "name", definition->name);
    set_string(root, "uuid", definition->uuid);
    set_number(root, "memory_mib", definition->memory_mib);
    json_object_set_new(root, "hugepages", json_boolean(definition->hugepages));
    set_number(root, "vcpus", definition->vcpus);
    set_string(root, "cpu", definition->cpu);
    set_string(root, "machine", definition->machine);
    set_string(root, "firmware", definition->firmware);
    set_string(root, "serial", definition->serial == HV_SERIAL_CONSOLE ? "console" : "none");
    // Only where it is there: a node with an older vmferryd takes the definitions that it knows.
    if (definition->guest_agent)
        json_object_set_new(root, "guest_agent", json_true());
    set_string(root, "on_stop", on_stops[definition->on_stop]);
    set_string(root, "restore", definition->restore == HV_RESTORE_EAGER ? "eager" : "lazy");
    if (definition->state_storage)
        json_object_set_new(root, "state_area", state_area_as_json(definition));
    else
        set_string(root, "state_area", definition->state_area);
    set_number(root, "max_blackout_ms", definition->max_blackout_ms);
    set_string(root, "convergence",
               definition->convergence == HV_CONVERGENCE_ABORT ? "abort" : "force");
    set_number(root, "max_throttle_percent", definition->max_throttle_percent);
    if (definition->kernel)
        json_object_set_new(root, "boot", boot_as_json(definition));
    for (size_t i = 0; i < definition->n_storage; i++)
        json_array_append_new(storage, hv_definition_storage_as_json(&definition->storage[i]));
    for (size_t i = 0; i < definition->n_disks; i++)
        json_array_append_new(disks, disk_as_json(&definition->disks[i]));
    for (size_t i = 0; i < definition->n_nics; i++)
        json_array_append_new(nics, nic_as_json(&definition->nics[i]));
    if (definition->n_storage)
        json_object_set(root, "storage", storage);
    json_decref(storage);
    json_object_set_new(root, "disks", disks);
    json_object_set_new(root, "nics", nics);
    json_object_set_new(root, "resources", resources_as_json(&definition->resources));
    return root;
}

char *hv_definition_to_json(const HvDefinition *definition)
{
    g_autoptr(json_t) root = hv_definition_as_json(definition);
    char *text = json_dumps(root, JSON_SORT_KEYS | JSON_COMPACT);
    char *copy = g_strdup(text); // jansson's memory is freed with free(), the caller uses g_free
    free(text);
    return copy;
}

char *hv_definition_digest(const HvDefinition *definition)
{
    g_autofree char *text = hv_definition_to_json(definition);
    return g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
}

char *hv_definition_pending(const HvDefinition *running, const HvDefinition *next)
{
    g_autoptr(json_t) before = hv_definition_as_json(running);
    g_autoptr(json_t) after = hv_definition_as_json(next);
    g_autoptr(GPtrArray) keys = g_ptr_array_new();
    for (size_t i = 0; i < hv_definition_n_keys; i++) {
        const HvDefinitionKey *entry = &hv_definition_keys[i];
        if (entry->object[0] || entry->live)
            continue;
        json_t *a = json_object_get(before, entry->key), *b = json_object_get(after, entry->key);
        if (a != b && !json_equal(a, b))
            g_ptr_array_add(keys, (gpointer)entry->key);
    }
    if (!keys->len)
        return NULL;
    g_ptr_array_add(keys, NULL);
    return g_strjoinv("; ", (char **)keys->pdata);
}
