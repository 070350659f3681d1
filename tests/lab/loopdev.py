# SPDX-License-Identifier: GPL-2.0-or-later
"""Loop devices that vanish with the last process that holds them open (linux/loop.h)."""
import fcntl
import os
import struct

LOOP_CONFIGURE = 0x4C0A
LOOP_CTL_GET_FREE = 0x4C82
LO_FLAGS_AUTOCLEAR = 4
LO_FLAGS_DIRECT_IO = 16
BLOCK_SIZE = 512


class LoopDevice:
    """A sparse file as a block device, until close() or the end of this process."""

    def __init__(self, path, size):
        with open(path, "wb") as file:
            file.truncate(size)
        self._handle = _attach(path)
        number = os.fstat(self._handle).st_rdev
        self.major, self.minor = os.major(number), os.minor(number)

    def close(self):
        os.close(self._handle)


def _attach(path):
    """Takes a free loop device; another process may be faster, hence the retries."""
    backing = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for flags in (LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, LO_FLAGS_AUTOCLEAR):
            for _ in range(20):
                handle = _configure(backing, path, flags)
                if handle is not None:
                    return handle
        raise OSError(f"no loop device could be attached to {path}")
    finally:
        os.close(backing)


def _configure(backing, path, flags):
    with open("/dev/loop-control", "rb") as control:
        number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
    handle = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
    name = os.fsencode(path)[-63:]
    # struct loop_config: fd, block_size, struct loop_info64, reserved[8]
    info = struct.pack("=QQQQQIIII64s64s32sQQ", 0, 0, 0, 0, 0, 0, 0, 0, flags,
                       name, b"", b"", 0, 0)
    config = bytearray(struct.pack("=II", backing, BLOCK_SIZE) + info + bytes(64))
    try:
        fcntl.ioctl(handle, LOOP_CONFIGURE, config)
        return handle
    except OSError:
        os.close(handle)
        return None
