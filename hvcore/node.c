// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/node.h"

#include "hvcore/fs.h"
#include "hvcore/node_kvm.h"
#include "hvcore/run.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// "QEMU emulator version 7.2.22 (Debian ...)"
static char *parse_version(const char *output)
{
    static const char mark[] = "QEMU emulator version ";
    const char *start = strstr(output, mark);
    if (!start)
        return NULL;
    start += strlen(mark);
    size_t length = strspn(start, G_CSET_DIGITS ".");
    return length ? g_strndup(start, length) : NULL;
}

static char *ask_version(const char *path, GError **error)
{
    char *const argv[] = {(char *)path, (char *)"--version", NULL};
    g_auto(HvRunResult) result = {0};
    if (!hv_run(argv, NULL, 0, HV_NODE_VERSION_MS, &result, error))
        return NULL;
    char *version = parse_version(result.output);
    if (!version)
        g_set_error(error, HV_ERROR, HV_ERROR_START,
                    "%s does not answer --version as QEMU does: %s", path, result.output);
    return version;
}

static char *find_qemu(const char *path, GError **error)
{
    g_autofree char *found = path ? g_strdup(path) : g_find_program_in_path("qemu-system-x86_64");
    if (found && g_file_test(found, G_FILE_TEST_IS_EXECUTABLE))
        return g_canonicalize_filename(found, NULL);
    g_set_error(error, HV_ERROR, HV_ERROR_START,
                "%s is missing or cannot be run; install qemu-system-x86",
                path ? path : "qemu-system-x86_64");
    return NULL;
}

// The system call, and for who may not use it /dev/userfaultfd (Linux >= 6.1, QEMU >= 8).
static bool can_userfaultfd(void)
{
    HV_AUTO_FD fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    struct uffdio_api api = {.api = UFFD_API};
    return fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0;
}

static uint32_t count_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (uint32_t)CPU_COUNT(&set);
    return (uint32_t)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
}

HvNode *hv_node_probe(const char *path, GError **error)
{
    g_autofree char *qemu_path = find_qemu(path, error);
    g_autofree char *version = qemu_path ? ask_version(qemu_path, error) : NULL;
    if (!version)
        return NULL;
    HvNode *node = g_new0(HvNode, 1);
    bool kvm = hv_node_try_kvm(qemu_path, &node->accelerator_reason);
    node->accelerator = g_strdup(kvm ? "kvm" : "tcg");
    node->qemu_path = g_steal_pointer(&qemu_path);
    node->qemu_version = g_steal_pointer(&version);
    node->userfaultfd = can_userfaultfd();
    node->memory_mib = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >> 20;
    node->cpus = count_cpus();
    return node;
}

void hv_node_free(HvNode *node)
{
    if (!node)
        return;
    g_free(node->qemu_path);
    g_free(node->qemu_version);
    g_free(node->accelerator);
    g_free(node->accelerator_reason);
    g_free(node);
}

bool hv_node_memory_available(uint64_t *mib, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) problem = NULL;
    if (!g_file_get_contents("/proc/meminfo", &text, NULL, &problem)) {
        g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "%s", problem->message);
        return false;
    }
    static const char key[] = "\nMemAvailable:";
    const char *line = strstr(text, key);
    uint64_t kib = line ? g_ascii_strtoull(line + strlen(key), NULL, 10) : 0;
    if (!line) {
        g_set_error(error, HV_ERROR, HV_ERROR_UNKNOWN, "/proc/meminfo has no MemAvailable");
        return false;
    }
    *mib = kib >> 10;
    return true;
}
