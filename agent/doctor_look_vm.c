// SPDX-License-Identifier: GPL-2.0-or-later
// Looks at one VM's files, state area and QEMU, as this node sees them.
#include "agent/doctor_look.h"

#include "agent/storage.h"
#include "hvcore/filesystem.h"
#include "hvcore/wwid.h"
#include "migrate/area.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

// Not in linux/magic.h.
#define GFS2_MAGIC 0x01161970
#define FUSE_MAGIC 0x65735546
#define CIFS_MAGIC 0xff534d42
#define SMB2_SUPER 0xfe534d42

typedef struct {
    guint32 magic;
    const char *fs, *class;
} FileSystem;

static const FileSystem file_systems[] = {
    {TMPFS_MAGIC, "tmpfs", "memory"},
    {RAMFS_MAGIC, "ramfs", "memory"},
    {NFS_SUPER_MAGIC, "nfs", "network"},
    {CEPH_SUPER_MAGIC, "ceph", "network"},
    {GFS2_MAGIC, "gfs2", "network"},
    {OCFS2_SUPER_MAGIC, "ocfs2", "network"},
    {CIFS_MAGIC, "cifs", "network"},
    {SMB2_SUPER, "cifs", "network"},
    {FUSE_MAGIC, "fuse", "network"},
    {EXT4_SUPER_MAGIC, "ext4", "local"},
    {XFS_SUPER_MAGIC, "xfs", "local"},
    {BTRFS_SUPER_MAGIC, "btrfs", "local"},
    {OVERLAYFS_SUPER_MAGIC, "overlay", "local"},
};

static const FileSystem *file_system(guint32 magic)
{
    static const FileSystem other = {0, "a local file system", "local"};

    for (size_t i = 0; i < G_N_ELEMENTS(file_systems); i++)
        if (file_systems[i].magic == magic)
            return &file_systems[i];
    return &other;
}

static char *wwid_in(const char *directory)
{
    static const char *const names[] = {"dm/uuid", "wwid", "device/wwid"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(directory, names[i], NULL);
        g_autofree char *found = doctor_line(path);

        if (found != NULL && *found != '\0')
            return hv_wwid_normalize(found);
    }
    return NULL;
}

char *doctor_wwid(dev_t device)
{
    g_autofree char *directory =
        g_strdup_printf("/sys/dev/block/%u:%u", major(device), minor(device));
    g_autofree char *file = g_build_filename(directory, "partition", NULL);
    g_autofree char *partition = doctor_line(file);
    g_autofree char *disk =
        partition != NULL ? g_build_filename(directory, "..", NULL) : g_strdup(directory);
    g_autofree char *found = wwid_in(disk);

    if (found == NULL || partition == NULL)
        return g_steal_pointer(&found);
    return g_strconcat(found, "-part", partition, NULL);
}

static void add_block(json_t *file, const struct stat *info)
{
    g_autofree char *name = doctor_wwid(info->st_rdev);

    json_object_set_new(file, "class", json_string("block"));
    json_object_set_new(file, "fs", json_string("a block device"));
    json_object_set_new(file, "device", json_integer((json_int_t)info->st_rdev));
    if (name != NULL)
        json_object_set_new(file, "wwid", json_string(name));
}

static void add_regular(json_t *file, const struct stat *info, const struct statfs *fs)
{
    const FileSystem *known = file_system((guint32)fs->f_type);

    json_object_set_new(file, "class", json_string(known->class));
    json_object_set_new(file, "fs", json_string(known->fs));
    json_object_set_new(file, "device", json_integer((json_int_t)info->st_dev));
    json_object_set_new(file, "inode", json_integer((json_int_t)info->st_ino));
    json_object_set_new(file, "blocks", json_integer((json_int_t)fs->f_blocks));
}

// What is not there or no file has no "class": cannot_run tells it.
static void add_file(json_t *files, const char *role, const char *path, bool shared)
{
    json_t *file = json_pack("{s:s, s:s, s:b}", "role", role, "path", path, "shared", shared);
    struct statfs fs;
    struct stat info;

    if (stat(path, &info) == 0 && S_ISBLK(info.st_mode))
        add_block(file, &info);
    else if (stat(path, &info) == 0 && S_ISREG(info.st_mode) && statfs(path, &fs) == 0)
        add_regular(file, &info, &fs);
    json_array_append_new(files, file);
}

// What only its owner sees need not be the same elsewhere.
static bool follows(const HvDefinition *definition, const HvDisk *disk)
{
    const HvStorage *storage =
        disk->storage != NULL ? hv_definition_storage(definition, disk->storage) : NULL;

    return storage != NULL && storage->type == HV_STORAGE_FILESYSTEM;
}

static json_t *look_at_files(const HvDefinition *definition)
{
    json_t *files = json_array();

    for (size_t i = 0; i < definition->n_disks; i++) {
        const HvDisk *disk = &definition->disks[i];

        if (disk->type != HV_DISK_ISCSI) // its URL is the same LUN everywhere
            add_file(files, disk->id, disk->path, !disk->read_only && !follows(definition, disk));
    }
    add_file(files, "state area", definition->state_area, true);
    return files;
}

static void look_at_area(json_t *facts, const HvDefinition *definition)
{
    g_autoptr(GError) error = NULL;
    FerryRecord record;

    if (!ferry_area_check(definition->state_area, definition->uuid, definition->memory_mib,
                          &error)) {
        json_object_set_new(facts, "area_problem", json_string(error->message));
        return;
    }
    g_autoptr(FerryArea) area = ferry_area_open(definition->state_area, NULL);
    if (area != NULL && ferry_area_read_record(area, &record, NULL))
        json_object_set_new(facts, "record", json_string(ferry_state_name(record.state)));
}

// vmferry never starts a QEMU like that, but QEMUs are also found and taken over.
static void look_at_cache(json_t *facts, GPid pid)
{
    static const char *const unsafe[] = {"cache=unsafe",      "cache=writeback",
                                         "\"no-flush\":true", "\"no-flush\": true",
                                         "\"direct\":false",  "\"direct\": false"};
    g_autofree char *path = g_strdup_printf("%s/proc/%d/cmdline", doctor_root, pid);
    g_autofree char *text = NULL;
    gsize length;

    if (pid <= 0 || !g_file_get_contents(path, &text, &length, NULL))
        return;
    for (gsize i = 0; i < length; i++)
        text[i] = text[i] != '\0' ? text[i] : ' ';
    for (size_t i = 0; i < G_N_ELEMENTS(unsafe); i++)
        if (length > 0 && g_strstr_len(text, (gssize)length, unsafe[i]) != NULL)
            json_object_set_new(facts, "unsafe_cache", json_string(unsafe[i]));
}

// Whether all of its devices are there; what is not may become so when the VM comes.
static bool look_at_storage(json_t *facts, const HvDefinition *definition)
{
    json_t *storage = storage_report(definition), *entry;
    bool available = true;
    size_t index;

    json_array_foreach (storage, index, entry) {
        bool absent = g_strcmp0(json_string_value(json_object_get(entry, "state")), "absent") == 0;

        available = available && !(absent && hv_storage_is_block(&definition->storage[index]));
    }
    if (json_array_size(storage) > 0)
        json_object_set(facts, "storage", storage);
    json_decref(storage);
    return available;
}

json_t *doctor_look_vm(gpointer data)
{
    const DoctorLook *look = data;
    const HvNodeCheck check = {.accelerator = look->accelerator,
                               .has_memory = true,
                               .unmounted = !hv_filesystems_held(look->definition->name)};
    g_autoptr(GError) error = NULL;
    json_t *facts = json_pack("{s:o}", "files", look_at_files(look->definition));
    bool available = look_at_storage(facts, look->definition);

    if (available && !hv_definition_check_node(look->definition, &check, &error))
        json_object_set_new(facts, "cannot_run", json_string(error->message));
    if (available)
        look_at_area(facts, look->definition);
    look_at_cache(facts, look->pid);
    return facts;
}
