// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/filesystem.h"

#include "hvcore/fs.h"
#include "hvcore/mount_table.h"
#include "hvcore/run.h"
#include "hvcore/storage_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

const char *hv_mount_directory = "";

enum { WORDS_MAX = 300 };

// --- running mount and umount ---

// A service may have a view of its own of what is mounted; mounts belong into the node's.
static bool has_own_view(void)
{
    struct stat own, init;
    return stat("/proc/self/ns/mnt", &own) == 0 && stat("/proc/1/ns/mnt", &init) == 0 &&
           own.st_ino != init.st_ino;
}

static bool run(const char *const *arguments, int note, unsigned deadline_ms, GError **error)
{
    static const char *const enter[] = {"/usr/bin/nsenter", "--target=1", "--mount", "--"};
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autofree char *program =
        g_strconcat(*hv_mount_directory ? hv_mount_directory : "/bin", "/", arguments[0], NULL);
    g_auto(HvRunResult) result = {0};
    for (size_t i = 0; i < G_N_ELEMENTS(enter) && has_own_view(); i++)
        g_ptr_array_add(argv, (gpointer)enter[i]);
    g_ptr_array_add(argv, program);
    for (arguments++; *arguments; arguments++)
        g_ptr_array_add(argv, (gpointer)*arguments);
    g_ptr_array_add(argv, NULL);
    if (!hv_run((char **)argv->pdata, &note, 1, deadline_ms, &result, error))
        return false;
    if (WIFEXITED(result.status) && WEXITSTATUS(result.status) == 0)
        return true;
    return hv_refuse(error, HV_ERROR_RESOURCE, "%.*s", WORDS_MAX, result.output);
}

// --- notes ---

static int open_note(const char *path, int flags)
{
    return open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
}

// False while the mount that the note is about is under way.
static bool lock_note(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

static bool still_under_way(GError **error, const char *vm, const char *name)
{
    return hv_refuse(
        error, HV_ERROR_UNKNOWN,
        "a mount of %s's file system \"%s\" has not come back and may still come about; does its "
        "storage hang?",
        vm, name);
}

static bool write_note(int fd, const char *point)
{
    ssize_t length = (ssize_t)strlen(point);
    return ftruncate(fd, 0) == 0 && pwrite(fd, point, (size_t)length, 0) == length;
}

static char *read_note(int fd)
{
    char text[4096];
    ssize_t length = pread(fd, text, sizeof text - 1, 0);
    return length < 0 ? NULL : g_strndup(text, (gsize)length);
}

// --- mounting ---

// False where it cannot be found out. MOUNT has no point where nothing is mounted there.
static bool look(const char *point, HvMount *mount, GError **error)
{
    g_autofree char *table = hv_mount_table();
    if (!table)
        return hv_refuse(error, HV_ERROR_UNKNOWN, "/proc/self/mountinfo cannot be read");
    (void)hv_mount_at(table, point, mount);
    return true;
}

static bool mount_it(const HvStorage *storage, const char *device, int note, GError **error)
{
    const char *argv[] = {"mount", "-t", storage->fstype, "-o", NULL, device, storage->path, NULL};
    argv[4] = storage->options ? storage->options : "defaults";
    if (g_mkdir_with_parents(storage->path, 0700) != 0)
        return hv_refuse(error, HV_ERROR_RESOURCE, "%s: %s", storage->path, g_strerror(errno));
    return run(argv, note, HV_MOUNT_MS, error);
}

static bool is_right_one(const HvMount *mount, const char *device, GError **error)
{
    struct stat status;
    if (stat(device, &status) == 0 && S_ISBLK(status.st_mode) && status.st_rdev == mount->device)
        return true;
    return hv_refuse(error, HV_ERROR_RESOURCE, "%s (%s) is mounted there already; unmount it",
                     mount->source, mount->fstype);
}

static bool mount_noted(const char *vm, const HvStorage *storage, const char *device, int note,
                        GError **error)
{
    g_auto(HvMount) mount = {0};
    if (!lock_note(note))
        return still_under_way(error, vm, storage->name);
    if (!write_note(note, storage->path))
        return hv_refuse(error, HV_ERROR_RESOURCE, "it cannot be noted in /run: %s",
                         g_strerror(errno));
    if (!look(storage->path, &mount, error))
        return false;
    return mount.point ? is_right_one(&mount, device, error)
                       : mount_it(storage, device, note, error);
}

bool hv_filesystem_mount(const char *vm, const HvStorage *storage, const char *device,
                         GError **error)
{
    g_autofree char *path = hv_storage_note(vm, storage->name);
    g_autoptr(GError) problem = NULL;
    HV_AUTO_FD note = open_note(path, O_CREAT);
    if (note < 0)
        return hv_refuse(error, HV_ERROR_RESOURCE, "%s: %s", path, g_strerror(errno));
    if (mount_noted(vm, storage, device, note, &problem))
        return true;
    g_set_error(error, HV_ERROR,
                g_error_matches(problem, HV_ERROR, HV_ERROR_TIMEOUT) ? HV_ERROR_UNKNOWN
                                                                     : problem->code,
                "%s cannot be mounted at %s: %s", device, storage->path, problem->message);
    return false;
}

// --- giving back ---

#define NOTE_PREFIX "mounted-"

static char **notes_of(const char *vm)
{
    g_autofree char *probe = hv_storage_note(vm, "");
    g_autofree char *directory = g_path_get_dirname(probe);
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    g_autoptr(GStrvBuilder) names = g_strv_builder_new();
    const char *name;
    while (dir && (name = g_dir_read_name(dir)))
        if (g_str_has_prefix(name, NOTE_PREFIX))
            g_strv_builder_add(names, name + strlen(NOTE_PREFIX));
    return g_strv_builder_end(names);
}

bool hv_filesystems_held(const char *vm)
{
    g_auto(GStrv) notes = notes_of(vm);
    return notes[0] != NULL;
}

static bool unmount(const char *point, int note, GError **error)
{
    const char *const argv[] = {"umount", point, NULL};
    g_auto(HvMount) mount = {0};
    if (!look(point, &mount, error))
        return false;
    return !mount.point || run(argv, note, HV_UNMOUNT_MS, error);
}

static bool release_one(const char *vm, const char *name, GError **error)
{
    g_autofree char *path = hv_storage_note(vm, name);
    g_autofree char *own = hv_storage_mount_point(vm, name);
    g_autoptr(GError) problem = NULL;
    HV_AUTO_FD note = open_note(path, 0);
    if (note < 0)
        return errno == ENOENT ||
               hv_refuse(error, HV_ERROR_UNKNOWN, "%s: %s", path, g_strerror(errno));
    if (!lock_note(note))
        return still_under_way(error, vm, name);
    g_autofree char *point = read_note(note);
    if (point && *point && !unmount(point, note, &problem)) {
        g_set_error(
            error, HV_ERROR, problem->code,
            "%s's file system \"%s\" cannot be unmounted from %s: %s. Who uses it? (`fuser -vm "
            "%s`) The VM is not stopped here before it is unmounted",
            vm, name, point, problem->message, point);
        return false;
    }
    if (unlink(path) != 0)
        return hv_refuse(error, HV_ERROR_UNKNOWN, "%s: %s", path, g_strerror(errno));
    if (rmdir(own) != 0 && errno != ENOENT) // a definition may name another place
        g_debug("%s: %s", own, g_strerror(errno));
    return true;
}

bool hv_filesystems_release(const char *vm, GError **error)
{
    g_auto(GStrv) names = notes_of(vm);
    for (char **name = names; *name; name++)
        if (!release_one(vm, *name, error))
            return false;
    return true;
}
