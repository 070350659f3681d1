// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/launch/userfault.h"

#include "hvcore/fs.h"
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef USERFAULTFD_IOC_NEW // Linux 6.1
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

static bool works(int fd)
{
    struct uffdio_api api = {.api = UFFD_API};
    return fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0;
}

bool launch_userfault(bool device)
{
    HV_AUTO_FD called = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (works(called))
        return true;
    HV_AUTO_FD opened = device ? open("/dev/userfaultfd", O_RDWR | O_CLOEXEC) : -1;
    HV_AUTO_FD made = opened >= 0 ? ioctl(opened, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK) : -1;
    return works(made);
}
