// SPDX-License-Identifier: GPL-2.0-or-later
// A /dev/kvm that opens says little: under some hypervisors it is there, but guests are many times
// slower than under TCG and a whole kernel gets nowhere. So a boot sector is run under both; it ends
// QEMU with an exit status that only a running guest can cause.
#include "hvcore/node_kvm.h"

#include "hvcore/fs.h"
#include "hvcore/run.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GUEST_VALUE = 0x2a, SECTOR = 512 };

static const unsigned char guest[SECTOR] = {0xba,
                                            0xf4,
                                            0x00, // mov dx, 0xf4
                                            0xb0,
                                            GUEST_VALUE, // mov al, GUEST_VALUE
                                            0xee,        // out dx, al
                                            0xf4,
                                            0xeb,
                                            0xfd, // hlt; jmp $-1
                                            [SECTOR - 2] = 0x55,
                                            0xaa};

static int boot_sector(void)
{
    HV_AUTO_FD fd = memfd_create("vmferry-probe", MFD_CLOEXEC);
    if (fd < 0 || write(fd, guest, sizeof guest) != (ssize_t)sizeof guest)
        return -1;
    return hv_steal_fd(&fd);
}

static bool device_opens(char **reason)
{
    HV_AUTO_FD fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        *reason = g_strdup_printf("/dev/kvm: %s", g_strerror(errno));
    return fd >= 0;
}

bool hv_node_try_guest(const char *qemu_path, const char *accelerator, unsigned deadline_ms,
                       char **reason)
{
    HV_AUTO_FD sector = boot_sector();
    g_autofree char *drive =
        g_strdup_printf("file=/proc/self/fd/%d,format=raw,if=ide,file.locking=off", sector);
    const char *const words[] = {qemu_path,   "-nodefaults", "-no-user-config",
                                 "-machine",  "pc",          "-accel",
                                 accelerator, "-m",          "16M",
                                 "-display",  "none",        "-drive",
                                 drive,       "-device",     "isa-debug-exit,iobase=0xf4,iosize=4",
                                 NULL};
    g_auto(HvRunResult) result = {0};
    g_autoptr(GError) error = NULL;
    if (!hv_run((char *const *)words, &sector, 1, deadline_ms, &result, &error)) {
        *reason = g_strdup_printf("%s did not run a test guest: %s", accelerator, error->message);
        return false;
    }
    // isa-debug-exit: status = value << 1 | 1
    bool ran = WIFEXITED(result.status) && WEXITSTATUS(result.status) == (GUEST_VALUE << 1 | 1);
    *reason =
        ran ? g_strdup_printf("%s ran a test guest", accelerator)
            : g_strdup_printf("%s did not run a test guest: QEMU: %s", accelerator, result.output);
    return ran;
}

bool hv_node_try_kvm(const char *qemu_path, char **reason)
{
    g_autofree char *tcg_reason = NULL;
    if (!device_opens(reason))
        return false;
    gint64 begin = g_get_monotonic_time();
    hv_node_try_guest(qemu_path, "tcg", HV_NODE_TCG_MS, &tcg_reason);
    unsigned tcg_ms = (unsigned)((g_get_monotonic_time() - begin) / 1000);
    if (hv_node_try_guest(qemu_path, "kvm", MAX(3 * tcg_ms, (unsigned)HV_NODE_KVM_MS), reason))
        return true;
    char *with_tcg = g_strdup_printf("%s; tcg took %u ms", *reason, tcg_ms);
    g_free(*reason);
    *reason = with_tcg;
    return false;
}
