// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/handover.h"

#include "hvcore/fs.h"
#include "hvcore/logs.h"
#include "hvcore/process_file.h"
#include "hvcore/rescue.h"
#include "hvcore/tap.h"
#include "hvcore/unix_socket.h"
#include "hvcore/vm_dir.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void hv_handover_clear(HvHandover *handover)
{
    for (size_t i = 0; i < handover->n; i++)
        hv_close_fd(&handover->fds[i]);
    handover->n = 0;
    hv_close_fd(&handover->log);
}

static bool add(HvHandover *handover, int fd, int *member)
{
    *member = fd;
    if (fd >= 0)
        handover->fds[handover->n++] = fd;
    return fd >= 0;
}

static int open_log(const char *directory, const char *file, GError **error)
{
    g_autofree char *path = g_build_filename(directory, file, NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        g_set_error(error, HV_ERROR, HV_ERROR_START, "%s: %s", path, g_strerror(errno));
    return fd;
}

static int listen_on(const char *directory, const char *file, GError **error)
{
    g_autofree char *path = g_build_filename(directory, file, NULL);
    return hv_unix_listen(path, error);
}

static bool open_monitors(HvHandover *handover, const char *directory, GError **error)
{
    return add(handover, listen_on(directory, "qmp.sock", error), &handover->qmp) &&
           add(handover, listen_on(directory, "qmp-aux.sock", error), &handover->qmp_aux);
}

static bool open_console(HvHandover *handover, const char *directory, GError **error)
{
    return add(handover, listen_on(directory, "console.sock", error), &handover->console) &&
           add(handover, open_log(directory, "console.log", error), &handover->console_log);
}

static bool open_guest_agent(HvHandover *handover, const char *directory, GError **error)
{
    return add(handover, listen_on(directory, "guest-agent.sock", error), &handover->guest_agent);
}

static bool open_taps(HvHandover *handover, const HvDefinition *definition, GError **error)
{
    for (size_t i = 0; i < definition->n_nics; i++) {
        const HvNic *nic = &definition->nics[i];
        g_autofree char *name = hv_tap_name(definition->uuid, i);
        if (!add(handover, hv_tap_open(name, nic->bridge, nic->mac, error), &handover->taps[i]))
            return false;
    }
    return true;
}

static bool open_rescue(HvHandover *handover, GError **error)
{
    int ends[2];
    if (!hv_rescue_open(ends, error))
        return false;
    (void)add(handover, ends[0], &handover->rescue[0]);
    (void)add(handover, ends[1], &handover->rescue[1]);
    return true;
}

static bool is_taken(const HvHandover *handover, int number)
{
    for (size_t i = 0; i < handover->n; i++)
        if (handover->fds[i] == number)
            return true;
    return false;
}

static void number_disks(HvHandover *handover, const HvDefinition *definition)
{
    int number = STDERR_FILENO;
    for (size_t i = 0; i < definition->n_disks; i++) {
        handover->disks[i] = -1;
        if (definition->disks[i].type == HV_DISK_ISCSI)
            continue;
        do
            number++;
        while (is_taken(handover, number));
        handover->disks[i] = number;
    }
}

bool hv_handover_open(HvHandover *handover, const HvDefinition *definition, HvLaunchMode mode,
                      const char *run_dir, const HvUser *user, GError **error)
{
    g_autofree char *directory = hv_vm_dir(run_dir, definition->name);
    *handover = (HvHandover){.log = -1,
                             .console = -1,
                             .console_log = -1,
                             .guest_agent = -1,
                             .rescue = {-1, -1}};
    if (!hv_vm_dir_make(run_dir, definition->name, user, error))
        return false;
    hv_logs_rotate(directory);
    handover->log = open_log(directory, "qemu.log", error);
    if (handover->log < 0 || !open_monitors(handover, directory, error) ||
        !open_taps(handover, definition, error) ||
        (mode == HV_LAUNCH_INCOMING && !open_rescue(handover, error)) ||
        (definition->serial == HV_SERIAL_CONSOLE && !open_console(handover, directory, error)) ||
        (definition->guest_agent && !open_guest_agent(handover, directory, error)))
        return false;
    number_disks(handover, definition);
    return true;
}
