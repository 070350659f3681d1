// SPDX-License-Identifier: GPL-2.0-or-later
#include "machine.h"

enum {
    PCI_ADDRESS = 0xcf8,
    PCI_DATA = 0xcfc,
    PM_TIMER = 0x608, // where SeaBIOS puts it on q35; counts 24 bits at PM_HZ
    PM_HZ = 3579545,
    PM_MASK = 0xffffff,
    FREE_ABOVE = 16 << 20,
    PAGE = 4096,
};

void *memcpy(void *to, const void *from, size_t bytes)
{
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return start;
}

void *memset(void *to, int value, size_t bytes)
{
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
    return start;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < bytes; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

uint32_t pci_read(unsigned slot, unsigned offset)
{
    out32(PCI_ADDRESS, 0x80000000U | slot << 11 | offset);
    return in32(PCI_DATA);
}

void pci_write(unsigned slot, unsigned offset, uint32_t value)
{
    out32(PCI_ADDRESS, 0x80000000U | slot << 11 | offset);
    out32(PCI_DATA, value);
}

// --- time ---

static uint64_t ticks_per_ms;

static uint64_t ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

void clock_start(void)
{
    enum { MEASURED_MS = 100 };
    uint32_t begin = in32(PM_TIMER);
    uint64_t first = ticks();
    while (((in32(PM_TIMER) - begin) & PM_MASK) < (uint32_t)PM_HZ / 1000 * MEASURED_MS)
        ;
    ticks_per_ms = (ticks() - first) / MEASURED_MS;
}

uint64_t machine_ns(void)
{
    uint64_t now = ticks();
    return now / ticks_per_ms * 1000000 + now % ticks_per_ms * 1000000 / ticks_per_ms;
}

// --- Multiboot ---

typedef struct {
    uint32_t flags, lower, upper, boot_device, command_line, modules, module_list, symbols[4];
    uint32_t map_bytes, map;
} Info;

typedef struct {
    uint32_t bytes; // of what follows
    uint64_t start, length;
    uint32_t type;
} __attribute__((packed)) Range;

unsigned memory_find(const void *info, Memory memories[MOST_MEMORIES])
{
    enum { FREE = 1 };
    const Info *found = info;
    unsigned n = 0;
    for (uint32_t at = 0; at < found->map_bytes && n < MOST_MEMORIES;) {
        const Range *range = (const Range *)(uintptr_t)(found->map + at);
        uint64_t end = range->start + range->length;
        uint64_t start = range->start < FREE_ABOVE ? FREE_ABOVE : range->start;
        if (range->type == FREE && start < end)
            memories[n++] =
                (Memory){(uint64_t *)start, (end - start) / PAGE * PAGE / sizeof(uint64_t)};
        at += range->bytes + (uint32_t)sizeof range->bytes;
    }
    return n;
}

const char *command_line(const void *info)
{
    return (const char *)(uintptr_t)((const Info *)info)->command_line;
}
