// SPDX-License-Identifier: GPL-2.0-or-later
// Whether what a definition names is there on this node.
#include "hvcore/definition.h"

#include "hvcore/fs.h"
#include "hvcore/hugepages.h"
#include "hvcore/node.h"
#include "hvcore/run.h"
#include "hvcore/tap.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// Under TCG a save while the guest runs could lose writes, as hvcore/command_line.c says, and there
// is no way around it: huge pages are always whole words of QEMU's bitmap.
static bool check_hugepages(const HvDefinition *definition, const HvNodeCheck *check,
                            GError **error)
{
    HvHugepages pages;
    uint64_t needed = definition->memory_mib / HV_HUGEPAGE_MIB;
    if (g_strcmp0(check->accelerator, "tcg") == 0)
        return hv_refuse(error, HV_ERROR_RESOURCE,
                         "hugepages: this node has no KVM, and without it memory in huge "
                         "pages cannot be saved while the guest runs; set it to false");
    if (!hv_hugepages_look(&pages))
        return hv_refuse(error, HV_ERROR_RESOURCE,
                         "hugepages: this node's kernel has none of %d MiB; set it to false",
                         HV_HUGEPAGE_MIB);
    if (needed > pages.total)
        return hv_refuse(error, HV_ERROR_RESOURCE,
                         "hugepages: %" PRIu64 " pages of %d MiB are needed, but this node has "
                         "%" PRIu64 "; raise vm.nr_hugepages (sysctl), best at boot",
                         needed, HV_HUGEPAGE_MIB, pages.total);
    if (!check->has_memory && needed > pages.available)
        return hv_refuse(error, HV_ERROR_RESOURCE,
                         "hugepages: %" PRIu64 " pages of %d MiB are needed, but only %" PRIu64
                         " of this node's %" PRIu64 " are free; raise vm.nr_hugepages (sysctl) or "
                         "move another VM away",
                         needed, HV_HUGEPAGE_MIB, pages.available, pages.total);
    return true;
}

static bool check_memory(const HvDefinition *definition, const HvNodeCheck *check, GError **error)
{
    if (definition->hugepages)
        return check_hugepages(definition, check, error);
    uint64_t available = 0;
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >> 20;
    if (definition->memory_mib > total)
        return hv_refuse(error, HV_ERROR_RESOURCE,
                         "memory_mib: %" PRIu64 " MiB, but this node has %" PRIu64
                         " MiB; lower it or choose a larger node",
                         definition->memory_mib, total);
    if (check->has_memory)
        return true;
    if (!hv_node_memory_available(&available, error))
        return false;
    if (definition->memory_mib > available)
        return hv_refuse(error, HV_ERROR_RESOURCE,
                         "memory_mib: %" PRIu64 " MiB, but only %" PRIu64
                         " MiB are available on this node; move another VM away or lower it",
                         definition->memory_mib, available);
    return true;
}

static bool check_readable(const char *key, const char *path, GError **error)
{
    struct stat status;
    if (!path)
        return true;
    if (stat(path, &status) < 0 || access(path, R_OK) < 0)
        return hv_refuse(error, HV_ERROR_RESOURCE, "%s: %s: %s", key, path, g_strerror(errno));
    if (!S_ISREG(status.st_mode))
        return hv_refuse(error, HV_ERROR_RESOURCE, "%s: %s is not a file", key, path);
    return true;
}

static bool check_qcow2(const char *key, const HvDisk *disk, int fd, GError **error)
{
    char magic[4] = {0};
    if (!g_str_equal(disk->format, "qcow2"))
        return true;
    if (pread(fd, magic, sizeof magic, 0) == sizeof magic && memcmp(magic, "QFI\xfb", 4) == 0)
        return true;
    return hv_refuse(error, HV_ERROR_RESOURCE,
                     "%s: %s holds no qcow2 image; is its format \"raw\"?", key, disk->path);
}

// Whoever runs it has to know what to ask.
static char *hint(const HvDefinition *definition, const HvDisk *disk)
{
    if (disk->storage)
        return g_strdup_printf("`vmferry storage check %s` tells about its storage \"%s\"",
                               definition->name, disk->storage);
    return g_strdup(disk->type == HV_DISK_BLOCK ? "is the LUN's session up on this node?"
                                                : "is the shared directory mounted?");
}

static bool check_local_disk(const HvDefinition *definition, const char *key, const HvDisk *disk,
                             GError **error)
{
    bool block = disk->type == HV_DISK_BLOCK;
    struct stat status;
    if (stat(disk->path, &status) < 0) {
        int problem = errno;
        g_autofree char *remedy = hint(definition, disk);
        return hv_refuse(error, HV_ERROR_RESOURCE, "%s: %s: %s; %s", key, disk->path,
                         g_strerror(problem), remedy);
    }
    if (block && !S_ISBLK(status.st_mode))
        return hv_refuse(error, HV_ERROR_RESOURCE,
                         "%s: %s is not a block device; use type \"file\"?", key, disk->path);
    if (!block && !S_ISREG(status.st_mode))
        return hv_refuse(error, HV_ERROR_RESOURCE, "%s: %s is not a regular file%s", key,
                         disk->path, S_ISBLK(status.st_mode) ? "; use type \"block\"" : "");
    HV_AUTO_FD fd =
        open(disk->path, (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return hv_refuse(error, HV_ERROR_RESOURCE, "%s: cannot open %s: %s", key, disk->path,
                         g_strerror(errno));
    return check_qcow2(key, disk, fd, error);
}

static bool check_iscsi_disk(const char *key, const HvDisk *disk, GError **error)
{
    g_autofree char *program = g_find_program_in_path("qemu-img");
    g_autoptr(GError) problem = NULL;
    g_auto(HvRunResult) result = {0};
    if (!program)
        return hv_refuse(error, HV_ERROR_RESOURCE, "%s: qemu-img is missing; install qemu-utils",
                         key);
    char *const argv[] = {program,      (char *)"info", (char *)"-U", (char *)"-f",
                          disk->format, disk->path,     NULL};
    if (!hv_run(argv, NULL, 0, HV_ISCSI_PROBE_MS, &result, &problem))
        return hv_refuse(error, HV_ERROR_RESOURCE, "%s: %s: %s; does the portal answer?", key,
                         disk->path, problem->message);
    if (!WIFEXITED(result.status) || WEXITSTATUS(result.status) != 0)
        return hv_refuse(error, HV_ERROR_RESOURCE, "%s: %s: %s", key, disk->path, result.output);
    return true;
}

static bool is_on_filesystem(const HvDefinition *definition, const HvDisk *disk)
{
    const HvStorage *storage =
        disk->storage ? hv_definition_storage(definition, disk->storage) : NULL;
    return storage && storage->type == HV_STORAGE_FILESYSTEM;
}

static bool check_disk(const HvDefinition *definition, const HvNodeCheck *check, size_t index,
                       GError **error)
{
    const HvDisk *disk = &definition->disks[index];
    g_autofree char *key = g_strdup_printf("disks[%zu]", index);
    if (check->unmounted && is_on_filesystem(definition, disk))
        return true;
    return disk->type == HV_DISK_ISCSI ? check_iscsi_disk(key, disk, error)
                                       : check_local_disk(definition, key, disk, error);
}

static bool check_bridge(const HvDefinition *definition, size_t index, GError **error)
{
    const char *name = definition->nics[index].bridge;
    switch (hv_bridge_look(name)) {
    case HV_BRIDGE_OK:
        return true;
    case HV_BRIDGE_OTHER:
        return hv_refuse(error, HV_ERROR_RESOURCE,
                         "nics[%zu].bridge: %s is an interface, but not a bridge", index, name);
    default:
        return hv_refuse(error, HV_ERROR_RESOURCE,
                         "nics[%zu].bridge: this node has no bridge %s; create it (see ip-link)",
                         index, name);
    }
}

bool hv_definition_check_node(const HvDefinition *definition, const HvNodeCheck *check,
                              GError **error)
{
    const char *firmware = g_str_equal(definition->firmware, "bios") ? NULL : definition->firmware;
    if (!check_memory(definition, check, error) || !check_readable("firmware", firmware, error) ||
        !check_readable("boot.kernel", definition->kernel, error) ||
        !check_readable("boot.initrd", definition->initrd, error))
        return false;
    for (size_t i = 0; i < definition->n_nics; i++)
        if (!check_bridge(definition, i, error))
            return false;
    for (size_t i = 0; i < definition->n_disks; i++)
        if (!check_disk(definition, check, i, error))
            return false;
    return true;
}
