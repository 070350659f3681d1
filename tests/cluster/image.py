# SPDX-License-Identifier: GPL-2.0-or-later
"""A state area as docs/STATE-IMAGE.md describes it: where to damage what."""

import struct

PAGE = 4096
SLOTS = {"A": 0, "B": 64 * 1024}
DESCRIPTOR = 128 * 1024
DEVICE_STATE = 1024 * 1024
ENTRIES = 511  # of an index block
PRESENT = 2


class Image:
    def __init__(self, path):
        self.path = path

    def read(self, offset, length):
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(length)

    def flip(self, offset, bit=4):
        """One bit."""
        byte = self.read(offset, 1)[0] ^ 1 << bit
        with open(self.path, "r+b") as file:
            file.seek(offset)
            file.write(bytes([byte]))

    def number(self, offset):
        return struct.unpack("<Q", self.read(offset, 8))[0]

    def newest_slot(self):
        return max(SLOTS.values(), key=lambda slot: self.number(slot + 16))

    def older_slot(self):
        return min(SLOTS.values(), key=lambda slot: self.number(slot + 16))

    def index_block(self, page):
        return self.number(DESCRIPTOR + 32) + page // ENTRIES * PAGE

    def offset_of(self, page):
        return self.number(DESCRIPTOR + 48) + page * PAGE

    def present_pages(self):
        """All pages with data, in order."""
        blocks = self.number(DESCRIPTOR + 40)
        index = self.read(self.number(DESCRIPTOR + 32), blocks * PAGE)
        for block in range(blocks):
            states = struct.unpack_from("<" + "4xI" * ENTRIES, index, block * PAGE)
            for at, state in enumerate(states):
                if state == PRESENT:
                    yield block * ENTRIES + at

    def late_page(self):
        """One that a lazy load needs after the guest has begun to run: far behind its kernel."""
        pages = list(self.present_pages())
        return pages[len(pages) * 3 // 4]
