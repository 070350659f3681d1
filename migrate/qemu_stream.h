// SPDX-License-Identifier: GPL-2.0-or-later
// Words of QEMU's migration stream (big-endian), as QEMU's migration/savevm.c, savevm.h and ram.c
// have them.
#pragma once

#include <stdint.h>

#define QEMU_VM_FILE_MAGIC 0x5145564du
#define QEMU_VM_FILE_VERSION 3u

enum {
    QEMU_VM_EOF = 0x00,
    QEMU_VM_SECTION_START = 0x01,
    QEMU_VM_SECTION_PART = 0x02,
    QEMU_VM_SECTION_END = 0x03,
    QEMU_VM_SECTION_FULL = 0x04,
    QEMU_VM_SUBSECTION = 0x05,
    QEMU_VM_VMDESCRIPTION = 0x06,
    QEMU_VM_CONFIGURATION = 0x07,
    QEMU_VM_COMMAND = 0x08,
    QEMU_VM_SECTION_FOOTER = 0x7e,
};

enum { // commands
    QEMU_CMD_OPEN_RETURN_PATH = 1,
    QEMU_CMD_POSTCOPY_ADVISE = 3,
    QEMU_CMD_POSTCOPY_LISTEN = 4,
    QEMU_CMD_POSTCOPY_RUN = 5,
    QEMU_CMD_POSTCOPY_RAM_DISCARD = 6,
    QEMU_CMD_PACKAGED = 7,
    QEMU_CMD_POSTCOPY_RESUME = 9,
    QEMU_CMD_RECV_BITMAP = 10,
    QEMU_CMD_SWITCHOVER_START = 11,
};

#define QEMU_RECV_BITMAP_END 0x0123456789abcdefu // follows the bits on the return path
#define QEMU_MAX_PACKAGED (1u << 24) // bytes

enum {
    QEMU_RAM_ZERO = 0x02,
    QEMU_RAM_MEM_SIZE = 0x04,
    QEMU_RAM_PAGE = 0x08,
    QEMU_RAM_EOS = 0x10,
    QEMU_RAM_CONTINUE = 0x20,
    QEMU_RAM_MULTIFD_FLUSH = 0x200,
    QEMU_RAM_FLAGS = 0xfff,
    QEMU_RAM_VERSION = 4,
};
