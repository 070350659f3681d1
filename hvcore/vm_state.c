// SPDX-License-Identifier: GPL-2.0-or-later
// What a VM is asked without asking QEMU, and its record.
#include "hvcore/fs.h"
#include "hvcore/process.h"
#include "hvcore/vm_dir.h"
#include "hvcore/vm_private.h"

#include <string.h>
#include <unistd.h>

const HvDefinition *hv_vm_definition(const HvVm *vm)
{
    return vm->definition;
}

bool hv_vm_process_alive(const HvVm *vm)
{
    return vm->pid != 0;
}

pid_t hv_vm_pid(const HvVm *vm)
{
    return vm->pid;
}

HvRunState hv_vm_run_state(const HvVm *vm)
{
    return vm->run_state;
}

HvMigrationStatus hv_vm_migration(const HvVm *vm)
{
    return vm->migration;
}

// /proc/PID/statm (proc(5)): pages in all, then those in memory, without huge ones.
uint64_t hv_vm_resident(const HvVm *vm)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm", (int)vm->pid);
    g_autofree char *text = NULL;
    if (!vm->pid || vm->definition->hugepages || !g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    const char *second = strchr(text, ' ');
    return second ? g_ascii_strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t hv_vm_epoch(const HvVm *vm)
{
    return vm->epoch;
}

const char *hv_vm_console_path(const HvVm *vm)
{
    return vm->definition->serial == HV_SERIAL_CONSOLE ? vm->console_path : NULL;
}

const char *hv_vm_guest_agent_path(const HvVm *vm)
{
    return vm->definition->guest_agent ? vm->guest_agent_path : NULL;
}

const char *hv_vm_resources_note(const HvVm *vm)
{
    return vm->resources_note;
}

bool hv_vm_set_epoch(HvVm *vm, uint64_t epoch, GError **error)
{
    if (!vm->pid) {
        g_set_error(error, HV_ERROR, HV_ERROR_NOT_RUNNING, "%s: no QEMU to record an epoch for",
                    vm->definition->name);
        return false;
    }
    g_autofree char *boot_id = hv_boot_id(error);
    if (!boot_id)
        return false;
    HvProcessFile file = {vm->pid, vm->start_time, boot_id, epoch, vm->definition,
                          vm->rescue_fd};
    if (!hv_process_file_write(vm->run_dir, &file, error))
        return false;
    vm->epoch = epoch;
    return true;
}

bool hv_vm_forget(const char *run_dir, const char *name, GError **error)
{
    g_auto(HvProcessFile) file = {0};
    HV_AUTO_FD pidfd = -1;
    switch (hv_process_find_name(run_dir, name, &file, &pidfd, error)) {
    case HV_PROCESS_GONE:
        break;
    case HV_PROCESS_ALIVE:
        g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "%s: its QEMU (pid %d) still runs", name,
                    (int)file.pid);
        return false;
    default:
        return false;
    }
    return hv_vm_dir_remove(run_dir, name, error);
}
