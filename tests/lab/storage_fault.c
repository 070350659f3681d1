// SPDX-License-Identifier: GPL-2.0-or-later
// Storage that fails, for vmferryd, saver, pager and QEMU: the lab's nodes preload this library.
// What is on the shared storage answers as the node's control file says, four bytes that may change
// at any time:
//
//   0  kind       0 none, 'e' EIO, 'n' ENOSPC, 'h' the request waits until this byte changes
//   1  requests   1 reads, 2 writes and flushes
//   2  programs   1 vmferryd, 2 saver, 4 pager, 8 QEMU
//   3  no_uring   io_uring cannot be set up: its requests do not come along here
//
// The machine's own kernel has no dm-error and no dm-delay. A request that waits here can be
// killed; one that waits in the kernel could not.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct io_uring;

// Libraries' functions whose headers would bring in more than these; off64_t's are glibc's own.
int io_submit(aio_context_t context, long count, struct iocb **requests);
int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);

#define CONTROL "/run/storage-fault"
#define STORAGE "/srv/"

enum { CONTROL_BYTES = 4096, LOOK_AGAIN_NS = 2000000 };
enum { READS = 1, WRITES = 2 };

typedef struct {
    uint8_t kind, requests, programs, no_uring;
} Control;

static const volatile Control *control;
static uint8_t program;

static uint8_t program_here(void)
{
    static const struct {
        const char *name;
        uint8_t bit;
    } programs[] = {
        {"vmferryd", 1}, {"vmferry-saver", 2}, {"vmferry-pager", 4}, {"qemu-system-x86", 8}};
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
        if (!strncmp(program_invocation_short_name, programs[i].name, strlen(programs[i].name)))
            return programs[i].bit;
    return 0;
}

// vmferryd, as root, makes the file; QEMU, which is another user, only reads it.
static int control_file(void)
{
    int fd = open(CONTROL, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return open(CONTROL, O_RDONLY | O_CLOEXEC);
    if (!fchmod(fd, 0644) && !ftruncate(fd, CONTROL_BYTES))
        return fd;
    close(fd);
    return -1;
}

// A program that could not be made to fail would pass every test of failures.
__attribute__((constructor)) static void begin(void)
{
    program = program_here();
    if (!program)
        return;
    int fd = control_file();
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, CONTROL_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        perror(CONTROL);
        abort();
    }
    control = mapped;
    close(fd);
}

static bool on_storage(int fd)
{
    char link[32], path[sizeof STORAGE] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && !strcmp(path, STORAGE);
}

static bool meant(int fd, uint8_t requests)
{
    return control && control->kind && control->programs & program &&
           control->requests & requests && on_storage(fd);
}

// The error the request ends with, or 0: it may go on.
static int fault(int fd, uint8_t requests)
{
    while (meant(fd, requests)) {
        if (control->kind == 'e')
            return EIO;
        if (control->kind == 'n')
            return ENOSPC;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_AGAIN_NS}, NULL);
    }
    return 0;
}

// ---- system calls

#define FAULTY(function, kind, parameters, arguments)                                              \
    ssize_t function parameters                                                                    \
    {                                                                                              \
        static __typeof__(&function) next;                                                         \
        int error = fault(fd, kind);                                                               \
        if (error) {                                                                               \
            errno = error;                                                                         \
            return -1;                                                                             \
        }                                                                                          \
        if (!next)                                                                                 \
            next = (__typeof__(&function))dlsym(RTLD_NEXT, #function);                             \
        return next arguments;                                                                     \
    }

FAULTY(pread, READS, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
FAULTY(pread64, READS, (int fd, void *to, size_t size, off64_t at), (fd, to, size, at))
FAULTY(preadv64, READS, (int fd, const struct iovec *to, int count, off64_t at),
       (fd, to, count, at))
FAULTY(pwrite, WRITES, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
FAULTY(pwrite64, WRITES, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at))
FAULTY(pwritev64, WRITES, (int fd, const struct iovec *from, int count, off64_t at),
       (fd, from, count, at))

int fdatasync(int fd)
{
    static __typeof__(&fdatasync) next;
    int error = fault(fd, WRITES);
    if (error) {
        errno = error;
        return -1;
    }
    if (!next)
        next = (__typeof__(&fdatasync))dlsym(RTLD_NEXT, "fdatasync");
    return next(fd);
}

// ---- libaio, QEMU's for its disks

static bool reads(const struct iocb *request)
{
    return request->aio_lio_opcode == IOCB_CMD_PREAD || request->aio_lio_opcode == IOCB_CMD_PREADV;
}

// Those before one that fails are submitted first; with that one at their head the answer is its
// error.
int io_submit(aio_context_t context, long count, struct iocb **requests)
{
    static __typeof__(&io_submit) next;
    long good = 0;
    int error = 0;
    for (; good < count; good++) {
        error = fault((int)requests[good]->aio_fildes, reads(requests[good]) ? READS : WRITES);
        if (error)
            break;
    }
    if (good == 0 && error)
        return -error;
    if (!next)
        next = (__typeof__(&io_submit))dlsym(RTLD_NEXT, "io_submit");
    return next(context, good, requests);
}

// ---- io_uring, the pager's

int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    static __typeof__(&io_uring_queue_init) next;
    if (control && control->no_uring)
        return -EPERM;
    if (!next)
        next = (__typeof__(&io_uring_queue_init))dlsym(RTLD_NEXT, "io_uring_queue_init");
    return next ? next(entries, ring, flags) : -ENOSYS;
}
