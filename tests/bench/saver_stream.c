// SPDX-License-Identifier: GPL-2.0-or-later
// The bytes that QEMU's `migrate` sends for a guest, without a QEMU: one pass over its pages, some
// of them zero, the others random. In QEMU's own manner, too: writev of 64 parts, headers and
// pages.
//
//   saver-stream --socket PATH [--memory MIB] [--zero PERCENT] [--every N]
#include "migrate/qemu_stream.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { PAGE = 4096, POOL_PAGES = 65536, PARTS = 64, HEADS = 16 * 1024, RAM_SECTION = 2 };

typedef struct {
    int fd;
    uint8_t *pool; // random pages: more than the CPU's caches hold
    struct iovec parts[PARTS];
    int n;
    uint8_t heads[HEADS]; // what is not pages; the last part may grow
    size_t used;
} Out;

static void give_up(const char *what)
{
    fprintf(stderr, "saver-stream: %s: %s\n", what, g_strerror(errno));
    exit(1);
}

static void flush(Out *out)
{
    struct iovec *part = out->parts;
    for (int left = out->n; left > 0;) {
        ssize_t n = writev(out->fd, part, left);
        if (n <= 0)
            give_up("the saver went away");
        for (; left > 0 && (size_t)n >= part->iov_len; part++, left--)
            n -= (ssize_t)part->iov_len;
        if (left > 0) {
            part->iov_base = (uint8_t *)part->iov_base + n;
            part->iov_len -= (size_t)n;
        }
    }
    out->n = 0;
    out->used = 0;
}

static void add(Out *out, const void *bytes, size_t length)
{
    struct iovec *last = out->n > 0 ? &out->parts[out->n - 1] : NULL;
    if (last != NULL && (const uint8_t *)last->iov_base + last->iov_len == bytes)
        last->iov_len += length;
    else
        out->parts[out->n++] = (struct iovec){(void *)(uintptr_t)bytes, length};
    if (out->n == PARTS)
        flush(out);
}

static void put(Out *out, const void *bytes, size_t length)
{
    if (out->used + length > HEADS)
        flush(out);
    uint8_t *at = out->heads + out->used;
    memcpy(at, bytes, length);
    out->used += length;
    add(out, at, length);
}

static void put_number(Out *out, uint64_t value, size_t bytes)
{
    uint64_t big = GUINT64_TO_BE(value);
    put(out, (uint8_t *)&big + 8 - bytes, bytes);
}

static void put_name(Out *out, const char *name)
{
    put_number(out, strlen(name), 1);
    put(out, name, strlen(name));
}

static void put_section(Out *out, uint8_t type)
{
    put_number(out, type, 1);
    put_number(out, RAM_SECTION, 4);
}

static void put_section_end(Out *out)
{
    put_number(out, QEMU_RAM_EOS, 8);
    put_section(out, QEMU_VM_SECTION_FOOTER);
}

static void put_head(Out *out, uint64_t ram)
{
    static const char machine[] = "pc-q35-7.2";
    put_number(out, QEMU_VM_FILE_MAGIC, 4);
    put_number(out, QEMU_VM_FILE_VERSION, 4);
    put_number(out, QEMU_VM_CONFIGURATION, 1);
    put_number(out, strlen(machine), 4);
    put(out, machine, strlen(machine));
    put_section(out, QEMU_VM_SECTION_START);
    put_name(out, "ram");
    put_number(out, 0, 4);
    put_number(out, QEMU_RAM_VERSION, 4);
    put_number(out, ram | QEMU_RAM_MEM_SIZE, 8);
    put_name(out, "pc.ram");
    put_number(out, ram, 8);
    put_section_end(out);
}

static void put_pages(Out *out, uint64_t n, int every, int zero)
{
    put_section(out, QEMU_VM_SECTION_PART);
    for (uint64_t page = 0; page < n; page += (uint64_t)every) {
        bool is_zero = page * 37 % 100 < (uint64_t)zero;
        uint64_t kind = is_zero ? QEMU_RAM_ZERO : QEMU_RAM_PAGE;
        put_number(out, page * PAGE | kind | (page > 0 ? QEMU_RAM_CONTINUE : 0), 8);
        if (page == 0)
            put_name(out, "pc.ram");
        if (is_zero)
            put_number(out, 0, 1);
        else
            add(out, out->pool + page % POOL_PAGES * PAGE, PAGE);
    }
    put_section_end(out);
}

static void put_tail(Out *out)
{
    uint8_t devices[8 * 1024] = {QEMU_VM_SECTION_FULL};
    put_section(out, QEMU_VM_SECTION_END);
    put_section_end(out);
    put(out, devices, sizeof devices); // as a saver sees it: opaque
    put_number(out, QEMU_VM_EOF, 1);
    put_number(out, QEMU_VM_VMDESCRIPTION, 1);
    put_number(out, 2, 4);
    put(out, "{}", 2);
    flush(out);
}

static void fill_pool(Out *out)
{
    out->pool = g_malloc((size_t)POOL_PAGES * PAGE);
    for (size_t done = 0; done < (size_t)POOL_PAGES * PAGE;) {
        ssize_t n = getrandom(out->pool + done, (size_t)POOL_PAGES * PAGE - done, 0);
        if (n <= 0)
            give_up("getrandom");
        done += (size_t)n;
    }
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        give_up(path);
    return fd;
}

// Prints how long the sending took, in seconds.
int main(int argc, char **argv)
{
    char *path = NULL;
    int memory = 2048, zero = 5, every = 1;
    GOptionEntry entries[] = {
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &path, "where the saver listens", "PATH"},
        {"memory", 0, 0, G_OPTION_ARG_INT, &memory, "of the guest (2048)", "MIB"},
        {"zero", 0, 0, G_OPTION_ARG_INT, &zero, "of its pages (5)", "PERCENT"},
        {"every", 0, 0, G_OPTION_ARG_INT, &every, "only each Nth page (1)", "N"},
        {0},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- a guest's stream to vmferry-saver");
    g_autofree Out *out = g_new0(Out, 1);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, NULL) || path == NULL || memory < 1 ||
        every < 1)
        return 2;
    fill_pool(out);
    out->fd = connect_to(path);
    gint64 began = g_get_monotonic_time();
    put_head(out, (uint64_t)memory << 20);
    put_pages(out, (uint64_t)memory << 8, every, zero);
    put_tail(out);
    printf("%.6f\n", (double)(g_get_monotonic_time() - began) / 1e6);
    close(out->fd);
    g_free(out->pool);
    g_free(path);
    return 0;
}
