// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/vm_dir.h"

#include "hvcore/fs.h"
#include "hvcore/process.h"
#include "hvcore/vm.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OWNERS = 0700, TO_PASS = 0710 };

static bool problem(GError **error, int code, const char *path)
{
    g_set_error(error, HV_ERROR, code, "%s: %s", path, g_strerror(errno));
    return false;
}

char *hv_vm_qemu_file(const char *run_dir, const char *name, const char *file)
{
    return g_build_filename(run_dir, name, "qemu", file, NULL);
}

static bool make(const char *path, uid_t owner, gid_t group, mode_t mode, GError **error)
{
    struct stat status;
    if (g_mkdir_with_parents(path, OWNERS) < 0 || lstat(path, &status) < 0)
        return problem(error, HV_ERROR_START, path);
    bool owned = status.st_uid == owner && status.st_gid == group;
    if ((!owned && lchown(path, owner, group) < 0) ||
        ((status.st_mode & 07777) != mode && chmod(path, mode) < 0))
        return problem(error, HV_ERROR_START, path);
    return true;
}

bool hv_vm_dir_make(const char *run_dir, const char *name, const HvUser *user, GError **error)
{
    g_autofree char *directory = hv_vm_dir(run_dir, name);
    g_autofree char *qemus = hv_vm_qemu_file(run_dir, name, NULL);
    uid_t owner = geteuid();
    gid_t group = user ? user->gid : getegid();
    mode_t mode = user ? TO_PASS : OWNERS;
    return make(run_dir, owner, group, mode, error) && make(directory, owner, group, mode, error) &&
           make(qemus, user ? user->uid : owner, group, OWNERS, error);
}

bool hv_vm_dir_remove(const char *run_dir, const char *name, GError **error)
{
    g_autofree char *directory = hv_vm_dir(run_dir, name);
    g_autofree char *qemus = hv_vm_qemu_file(run_dir, name, NULL);
    return hv_fs_remove_flat(qemus, error) && hv_fs_remove_flat(directory, error);
}

bool hv_vm_dir_make_file(const char *path, const HvUser *user, GError **error)
{
    (void)unlink(path);
    HV_AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || (user && fchown(fd, user->uid, user->gid) < 0))
        return problem(error, HV_ERROR_START, path);
    return true;
}

bool hv_vm_dir_give(const char *path, pid_t pid, GError **error)
{
    uid_t owner;
    if (hv_process_owner(pid, &owner) &&
        (owner == geteuid() || lchown(path, owner, (gid_t)-1) == 0))
        return true;
    return problem(error, HV_ERROR_RESOURCE, path);
}
