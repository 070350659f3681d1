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

bool hv_node_kvm_opens(char **reason)
{
    HV_AUTO_FD fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        *reason = g_strdup_printf("/dev/kvm: %s", g_strerror(errno));
    return fd >= 0;
}

static GPtrArray *guest_words(const HvLauncher *launcher, const char *qemu_path,
                              const char *accelerator, int sector)
{
    g_autofree char *fd = g_strdup_printf("fd=%d,set=0", sector);
    const char *const words[] = {qemu_path,
                                 "-nodefaults",
                                 "-no-user-config",
                                 "-machine",
                                 "pc",
                                 "-accel",
                                 accelerator,
                                 "-m",
                                 "16M",
                                 "-display",
                                 "none",
                                 "-add-fd",
                                 fd,
                                 "-blockdev",
                                 "driver=file,filename=/dev/fdset/0,locking=off,node-name=disk",
                                 "-device",
                                 "ide-hd,drive=disk",
                                 "-device",
                                 "isa-debug-exit,iobase=0xf4,iosize=4"};
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        g_ptr_array_add(argv, g_strdup(words[i]));
    hv_launcher_wrap(argv, launcher, &sector, 1);
    g_ptr_array_add(argv, NULL);
    return argv;
}

bool hv_node_try_guest(const HvLauncher *launcher, const char *qemu_path, const char *accelerator,
                       unsigned deadline_ms, char **reason)
{
    HV_AUTO_FD sector = boot_sector();
    g_autoptr(GPtrArray) argv = guest_words(launcher, qemu_path, accelerator, sector);
    g_auto(HvRunResult) result = {0};
    g_autoptr(GError) error = NULL;
    if (!hv_run((char *const *)argv->pdata, &sector, 1, deadline_ms, &result, &error)) {
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

bool hv_node_try_kvm(const HvLauncher *launcher, const char *qemu_path, char **reason)
{
    g_autofree char *tcg_reason = NULL;
    if (!hv_node_kvm_opens(reason))
        return false;
    gint64 begin = g_get_monotonic_time();
    hv_node_try_guest(launcher, qemu_path, "tcg", HV_NODE_TCG_MS, &tcg_reason);
    unsigned tcg_ms = (unsigned)((g_get_monotonic_time() - begin) / 1000);
    if (hv_node_try_guest(launcher, qemu_path, "kvm", MAX(3 * tcg_ms, (unsigned)HV_NODE_KVM_MS),
                          reason))
        return true;
    char *with_tcg = g_strdup_printf("%s; tcg took %u ms", *reason, tcg_ms);
    g_free(*reason);
    *reason = with_tcg;
    return false;
}
