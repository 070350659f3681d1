// SPDX-License-Identifier: GPL-2.0-or-later
// Where QEMU begins (Multiboot 1, as a flat binary): 32 bits, no paging. Goes on in 64 bits with all memory
// mapped where it is, by pages of 1 GiB.
#define MAGIC 0x1badb002
#define MEMORY_MAP 0x2
#define ADDRESSES 0x10000 // those below are in the header

    .section .start, "ax"
    .code32
header:
    .long MAGIC, MEMORY_MAP | ADDRESSES, -(MAGIC + (MEMORY_MAP | ADDRESSES))
    .long header, header, data_end, bss_end, start

    .globl start
start:
    mov $stack_end, %esp
    push $0
    push %ebx // the Multiboot information
    mov $directory, %edi
    mov $3, %eax // present, writable
    or $pointers, %eax
    mov %eax, (%edi)
    mov $pointers, %edi
    xor %ecx, %ecx
1:  mov %ecx, %eax
    shl $30, %eax
    or $0x83, %eax // and of 1 GiB
    mov %eax, (%edi, %ecx, 8)
    mov %ecx, %eax
    shr $2, %eax
    mov %eax, 4(%edi, %ecx, 8)
    inc %ecx
    cmp $512, %ecx
    jne 1b
    mov %cr4, %eax
    or $0x20, %eax // PAE
    mov %eax, %cr4
    mov $directory, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx // EFER
    rdmsr
    or $0x100, %eax // LME
    wrmsr
    mov %cr0, %eax
    or $0x80000000, %eax // PG
    mov %eax, %cr0
    lgdt table_pointer
    ljmp $8, $long_mode
    .code64
long_mode:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    pop %rdi
    call run
1:  hlt
    jmp 1b

    .balign 8
table:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
table_pointer:
    .word table_pointer - table - 1
    .long table

    .bss
    .balign 4096
directory:
    .skip 4096
pointers:
    .skip 4096
    .skip 65536
stack_end:

    .section .note.GNU-stack, "", @progbits
