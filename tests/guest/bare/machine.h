// SPDX-License-Identifier: GPL-2.0-or-later
// What the bare guest knows of its machine: ports, PCI configuration, time, memory.
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint16_t in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

// Of bus 0.
uint32_t pci_read(unsigned slot, unsigned offset);
void pci_write(unsigned slot, unsigned offset, uint32_t value);

// Measures the processor's clock; once, before machine_ns.
void clock_start(void);
uint64_t machine_ns(void);

typedef struct {
    uint64_t *words;
    uint64_t count;
} Memory;

enum { MOST_MEMORIES = 8 };

// INFO: Multiboot's. Gives what is free above 16 MiB, whole pages; returns how many.
unsigned memory_find(const void *info, Memory memories[MOST_MEMORIES]);
// The kernel's command line.
const char *command_line(const void *info);

void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
