// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/definition_storage.h"

#include "hvcore/iscsi_url.h"
#include "hvcore/storage_path.h"
#include "hvcore/wwid.h"
#include <string.h>

enum {
    PORTALS_MAX = 8,
    TARGET_MAX = 223, // RFC 7143
    CHAP_USER_MAX = 255,
    WWID_MAX = 200,
    LVM_NAME_MAX = 127,
};
#define SIZE_MAX_MIB ((uint64_t)1 << 43)

static const char *const types[] = {"iscsi", "lun", "lv", "directory", "filesystem", NULL};

enum {
    ISCSI = 1 << HV_STORAGE_ISCSI,
    LUN = 1 << HV_STORAGE_LUN,
    LV = 1 << HV_STORAGE_LV,
    DIRECTORY = 1 << HV_STORAGE_DIRECTORY,
    FILESYSTEM = 1 << HV_STORAGE_FILESYSTEM,
    BLOCK = ISCSI | LUN | LV,
};

// Which key is for which type, and needed there.
static const struct {
    const char *key;
    unsigned allowed, needed;
} uses[] = {
    {"portals", ISCSI, ISCSI},
    {"target", ISCSI, ISCSI},
    {"lun", ISCSI, ISCSI},
    {"chap_user", ISCSI, 0},
    {"chap_secret_file", ISCSI, 0},
    {"wwid", BLOCK, LUN},
    {"size_mib", BLOCK, 0},
    {"vg", LV, LV},
    {"lv", LV, LV},
    {"path", DIRECTORY | FILESYSTEM, DIRECTORY},
    {"source", DIRECTORY, 0},
    {"on", FILESYSTEM, FILESYSTEM},
    {"fstype", FILESYSTEM, FILESYSTEM},
    {"options", FILESYSTEM, 0},
};

const char *hv_storage_type_name(HvStorageType type)
{
    return types[type];
}

bool hv_storage_is_block(const HvStorage *storage)
{
    return (1U << storage->type & BLOCK) != 0;
}

static const HvStorage *find(const HvDefinition *definition, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(definition->storage[i].name, name) == 0)
            return &definition->storage[i];
    return NULL;
}

const HvStorage *hv_definition_storage(const HvDefinition *definition, const char *name)
{
    return find(definition, definition->n_storage, name);
}

bool hv_definition_is_exclusive(const HvDefinition *definition)
{
    for (size_t i = 0; i < definition->n_storage; i++)
        if (definition->storage[i].type == HV_STORAGE_FILESYSTEM)
            return true;
    return false;
}

// --- one entry ---

static void check_uses(HvReader *reader, HvStorageType type)
{
    unsigned bit = 1U << type;
    for (size_t i = 0; i < G_N_ELEMENTS(uses); i++) {
        bool there = hv_reader_get(reader, uses[i].key) != NULL;
        if (there && !(uses[i].allowed & bit))
            hv_reader_fail(reader, uses[i].key, "not for type \"%s\"", types[type]);
        if (!there && uses[i].needed & bit)
            hv_reader_fail(reader, uses[i].key, "missing (type \"%s\")", types[type]);
    }
}

// It is part of a file name, and names a device of the VM in messages.
static char *read_storage_name(HvReader *reader)
{
    const char *name = hv_reader_string(reader, "name", HV_TEXT_LIMIT);
    if (name && (!g_ascii_isalpha(name[0]) || strlen(name) > 20 ||
                 !hv_reader_only(name, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_-")))
        hv_reader_fail(reader, "name",
                       "\"%s\" must begin with a letter and hold only letters, digits, \"_\" and "
                       "\"-\", 20 at most",
                       name);
    return g_strdup(name);
}

static char *read_portal(HvReader *reader, json_t *item, const char *key)
{
    const char *text = json_string_value(item);
    char *portal = text ? hv_iscsi_portal(text) : NULL;
    if (!portal)
        hv_reader_fail(reader, key, "\"%s\" is not HOST[:PORT], with an IPv6 address in brackets",
                       text ? text : "");
    return portal;
}

static char **read_portals(HvReader *reader)
{
    json_t *array = hv_reader_get(reader, "portals"), *item;
    g_autoptr(GStrvBuilder) portals = g_strv_builder_new();
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    size_t index;
    if (array && (!json_is_array(array) || json_array_size(array) < 1 ||
                  json_array_size(array) > PORTALS_MAX))
        hv_reader_fail(reader, "portals", "must be an array of 1 to %d portals", PORTALS_MAX);
    if (reader->failed)
        return NULL;
    json_array_foreach (array, index, item) {
        g_autofree char *key = g_strdup_printf("portals[%zu]", index);
        g_autofree char *portal = read_portal(reader, item, key);
        if (!portal)
            return NULL;
        g_strv_builder_add(portals, portal);
        if (!g_hash_table_add(seen, g_strdup(portal)))
            hv_reader_fail(reader, key, "\"%s\" is there twice", portal);
    }
    return array ? g_strv_builder_end(portals) : NULL;
}

static char *read_target(HvReader *reader)
{
    const char *target = hv_reader_string(reader, "target", TARGET_MAX);
    if (target && (!g_regex_match_simple("^(iqn|eui|naa)\\.[A-Za-z0-9.:_-]+$", target,
                                         G_REGEX_DOLLAR_ENDONLY, 0)))
        hv_reader_fail(reader, "target",
                       "\"%s\" is not a target's name such as iqn.2026-01.com.example:vm", target);
    return g_strdup(target);
}

static void read_chap(HvReader *reader, HvStorage *storage)
{
    storage->chap_user = g_strdup(hv_reader_string(reader, "chap_user", CHAP_USER_MAX));
    storage->chap_secret_file =
        g_strdup(hv_reader_string(reader, "chap_secret_file", HV_TEXT_LIMIT));
    const char *file = storage->chap_secret_file;
    if (!storage->chap_user != !file)
        hv_reader_fail(reader, file ? "chap_user" : "chap_secret_file",
                       "missing; chap_user and chap_secret_file go together");
    else if (file && file[0] != '/' &&
             (file[0] == '.' ||
              !hv_reader_only(file, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_.-")))
        hv_reader_fail(reader, "chap_secret_file",
                       "\"%s\" is neither an absolute path nor the name of a systemd credential "
                       "(the secret itself does not belong here: every cluster user can read it)",
                       file);
}

static void read_identity(HvReader *reader, HvStorage *storage)
{
    const char *wwid = hv_reader_string(reader, "wwid", WWID_MAX);
    if (wwid && (strchr(wwid, '/') || strchr(wwid, '"')))
        hv_reader_fail(reader, "wwid",
                       "\"%s\" is not a WWID such as 3600140539b1... or wwn-0x600140539b1... "
                       "(ls /dev/disk/by-id)",
                       wwid);
    storage->wwid = wwid && !reader->failed ? hv_wwid_normalize(wwid) : NULL;
    if (storage->wwid && !*storage->wwid)
        hv_reader_fail(reader, "wwid", "holds nothing but a prefix");
    storage->size_mib = hv_reader_number(reader, "size_mib", 0, 1, SIZE_MAX_MIB, "MiB");
}

static char *read_lvm_name(HvReader *reader, const char *key)
{
    const char *name = hv_reader_string(reader, key, LVM_NAME_MAX);
    if (name && (name[0] == '-' || g_str_equal(name, ".") || g_str_equal(name, "..") ||
                 !hv_reader_only(name, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_.+-")))
        hv_reader_fail(reader, key, "\"%s\" is not a name that LVM allows", name);
    return g_strdup(name);
}

static void read_filesystem(HvReader *reader, HvStorage *storage)
{
    static const char *const fstypes[] = {"ext4", "xfs", "btrfs", NULL};
    if (storage->type != HV_STORAGE_FILESYSTEM)
        return;
    storage->on = g_strdup(hv_reader_string(reader, "on", HV_TEXT_LIMIT));
    storage->fstype = g_strdup(fstypes[hv_reader_word(reader, "fstype", fstypes, 0)]);
    storage->options = g_strdup(hv_reader_string(reader, "options", HV_TEXT_LIMIT));
}

static void read_storage_path(HvReader *reader, const char *vm, HvStorage *storage)
{
    storage->path = hv_reader_path(reader, "path");
    storage->own_path = storage->path != NULL;
    if (storage->path && (strstr(storage->path, "/../") || g_str_has_suffix(storage->path, "/..") ||
                          g_str_has_suffix(storage->path, "/")))
        hv_reader_fail(reader, "path", "\"%s\" holds \"..\" or ends with \"/\"", storage->path);
    if (storage->path || reader->failed)
        return;
    storage->path = hv_storage_is_block(storage) ? hv_storage_link(vm, storage->name)
                                                 : hv_storage_mount_point(vm, storage->name);
}

void hv_definition_read_storage(HvReader *reader, HvDefinition *definition, size_t index)
{
    HvStorage *storage = &definition->storage[index];
    storage->type = (HvStorageType)hv_reader_word(reader, "type", types, HV_STORAGE_LUN);
    check_uses(reader, storage->type);
    storage->name = read_storage_name(reader);
    storage->portals = read_portals(reader);
    storage->target = read_target(reader);
    storage->lun = (uint32_t)hv_reader_number(reader, "lun", 0, 0, HV_ISCSI_LUN_MAX, "(LUN)");
    read_chap(reader, storage);
    read_identity(reader, storage);
    storage->vg = read_lvm_name(reader, "vg");
    storage->lv = read_lvm_name(reader, "lv");
    storage->source = g_strdup(hv_reader_string(reader, "source", HV_TEXT_LIMIT));
    read_filesystem(reader, storage);
    read_storage_path(reader, definition->name, storage);
    if (!reader->failed && find(definition, index, storage->name))
        hv_reader_fail(reader, "name", "there is another storage \"%s\"", storage->name);
}

// --- what lies on it ---

// The path within a directory; NULL for a block device, which is taken whole.
static char *read_inside(HvReader *reader, const HvStorage *storage)
{
    const char *path = hv_reader_string(reader, "path", HV_TEXT_LIMIT);
    if (hv_storage_is_block(storage)) {
        if (path)
            hv_reader_fail(reader, "path", "storage \"%s\" is a block device and is taken whole",
                           storage->name);
        return NULL;
    }
    g_autofree char *framed = g_strdup_printf("/%s/", path ? path : "");
    if (!path)
        hv_reader_fail(reader, "path", "missing: the file within storage \"%s\"", storage->name);
    else if (path[0] == '/' || g_str_has_suffix(path, "/") || strstr(framed, "/../"))
        hv_reader_fail(
            reader, "path",
            "\"%s\" is not a file within storage \"%s\": no \"/\" at its ends, no \"..\"", path,
            storage->name);
    return g_strdup(path);
}

static const HvStorage *read_reference(HvReader *reader, const HvDefinition *definition)
{
    const char *name = hv_reader_string(reader, "storage", HV_TEXT_LIMIT);
    const HvStorage *storage = name ? hv_definition_storage(definition, name) : NULL;
    if (name && !storage)
        hv_reader_fail(reader, "storage", "there is no storage \"%s\" in this definition", name);
    return storage;
}

static char *resolve(const HvStorage *storage, const char *inside)
{
    return inside ? g_build_filename(storage->path, inside, NULL) : g_strdup(storage->path);
}

void hv_definition_read_disk_storage(HvReader *reader, const HvDefinition *definition, HvDisk *disk)
{
    const HvStorage *storage = read_reference(reader, definition);
    if (!storage)
        return;
    bool block = hv_storage_is_block(storage);
    if (block != (disk->type == HV_DISK_BLOCK))
        hv_reader_fail(reader, "type", "storage \"%s\" is of type \"%s\", which takes \"%s\"",
                       storage->name, types[storage->type], block ? "block" : "file");
    disk->storage = g_strdup(storage->name);
    disk->inside = read_inside(reader, storage);
    disk->path = reader->failed ? NULL : resolve(storage, disk->inside);
}

// The target of a move reads the image while the source's node still has its own file systems
// mounted.
void hv_definition_read_state_area(HvReader *reader, HvDefinition *definition)
{
    const HvStorage *storage = read_reference(reader, definition);
    if (!storage)
        return;
    if (storage->type == HV_STORAGE_FILESYSTEM)
        hv_reader_fail(
            reader, "storage",
            "\"%s\" is a file system that only the VM's owner mounts, and every node has "
            "to read the run record; put the state area on a LUN of its own or into a "
            "shared directory",
            storage->name);
    definition->state_storage = g_strdup(storage->name);
    definition->state_inside = read_inside(reader, storage);
    definition->state_area = reader->failed ? NULL : resolve(storage, definition->state_inside);
}

// --- all together ---

static bool same_device(const HvStorage *a, const HvStorage *b)
{
    if (a->wwid && b->wwid && strcmp(a->wwid, b->wwid) == 0)
        return true;
    if (a->type != b->type)
        return false;
    if (a->type == HV_STORAGE_ISCSI)
        return strcmp(a->target, b->target) == 0 && a->lun == b->lun;
    return a->type == HV_STORAGE_LV && strcmp(a->vg, b->vg) == 0 && strcmp(a->lv, b->lv) == 0;
}

static bool is_used_whole(const HvDefinition *definition, const char *name)
{
    for (size_t i = 0; i < definition->n_disks; i++)
        if (g_strcmp0(definition->disks[i].storage, name) == 0)
            return true;
    return g_strcmp0(definition->state_storage, name) == 0;
}

static void check_filesystem(HvReader *top, const HvDefinition *definition, const char *key,
                             const HvStorage *storage)
{
    const HvStorage *device = hv_definition_storage(definition, storage->on);
    g_autofree char *on = g_strconcat(key, ".on", NULL);
    if (!device || !hv_storage_is_block(device))
        hv_reader_fail(top, on, "\"%s\" is not a storage of type iscsi, lun or lv", storage->on);
    else if (is_used_whole(definition, storage->on))
        hv_reader_fail(top, on, "\"%s\" is also a disk or the state area", storage->on);
}

static void check_pair(HvReader *top, const char *key, const HvStorage *one, const HvStorage *other)
{
    if (same_device(one, other))
        hv_reader_fail(top, key, "is the same device as storage \"%s\"", other->name);
    else if (strcmp(one->path, other->path) == 0)
        hv_reader_fail(top, key, "has the same path as storage \"%s\"", other->name);
    else if (one->on && g_strcmp0(one->on, other->on) == 0)
        hv_reader_fail(top, key, "is on the same device as storage \"%s\"", other->name);
}

void hv_definition_check_storage(HvReader *top, const HvDefinition *definition)
{
    for (size_t i = 0; i < definition->n_storage && !top->failed; i++) {
        const HvStorage *storage = &definition->storage[i];
        g_autofree char *key = g_strdup_printf("storage[%zu]", i);
        if (storage->type == HV_STORAGE_FILESYSTEM)
            check_filesystem(top, definition, key, storage);
        for (size_t j = 0; j < i; j++)
            check_pair(top, key, storage, &definition->storage[j]);
    }
}

void hv_definition_clear_storage(HvStorage *storage)
{
    char *strings[] = {storage->name, storage->path,      storage->target,
                       storage->wwid, storage->chap_user, storage->chap_secret_file,
                       storage->vg,   storage->lv,        storage->source,
                       storage->on,   storage->fstype,    storage->options};
    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
        g_free(strings[i]);
    g_strfreev(storage->portals);
}

// --- JSON ---

static json_t *portals_as_json(char **portals)
{
    json_t *array = json_array();
    for (; *portals; portals++)
        json_array_append_new(array, json_string(*portals));
    return array;
}

json_t *hv_definition_storage_as_json(const HvStorage *storage)
{
    json_t *object = json_pack(
        "{s:s, s:s, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*}", "name",
        storage->name, "type", types[storage->type], "target", storage->target, "chap_user",
        storage->chap_user, "chap_secret_file", storage->chap_secret_file, "wwid", storage->wwid,
        "vg", storage->vg, "lv", storage->lv, "source", storage->source, "on", storage->on,
        "fstype", storage->fstype, "options", storage->options);
    if (storage->own_path)
        json_object_set_new(object, "path", json_string(storage->path));
    if (storage->portals)
        json_object_set_new(object, "portals", portals_as_json(storage->portals));
    if (storage->type == HV_STORAGE_ISCSI)
        json_object_set_new(object, "lun", json_integer(storage->lun));
    if (storage->size_mib)
        json_object_set_new(object, "size_mib", json_integer((json_int_t)storage->size_mib));
    return object;
}

HvDefinition *hv_definition_identify(const HvDefinition *definition, const char *name,
                                     const char *wwid, uint64_t size_mib, GError **error)
{
    g_autoptr(json_t) root = hv_definition_as_json(definition);
    json_t *entry;
    size_t index;
    json_array_foreach (json_object_get(root, "storage"), index, entry)
        if (strcmp(json_string_value(json_object_get(entry, "name")), name) == 0) {
            json_object_set_new(entry, "wwid", json_string(wwid));
            json_object_set_new(entry, "size_mib", json_integer((json_int_t)size_mib));
        }
    return hv_definition_from_json(root, error);
}
