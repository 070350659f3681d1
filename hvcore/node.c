// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/node.h"

#include "hvcore/fs.h"
#include "hvcore/launcher.h"
#include "hvcore/node_kvm.h"
#include "hvcore/run.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEVICE_SINCE = 8 }; // QEMU's major version that knows /dev/userfaultfd

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

static char *ask_version(const HvLauncher *launcher, const char *path, GError **error)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    g_auto(HvRunResult) result = {0};
    g_ptr_array_add(argv, g_strdup(path));
    g_ptr_array_add(argv, g_strdup("--version"));
    hv_launcher_wrap(argv, launcher, NULL, 0);
    g_ptr_array_add(argv, NULL);
    if (!hv_run((char *const *)argv->pdata, NULL, 0, HV_NODE_VERSION_MS, &result, error))
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

static uint32_t count_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (uint32_t)CPU_COUNT(&set);
    return (uint32_t)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
}

static bool find_user(const char *name, HvUser **user, GError **error)
{
    g_autoptr(HvUser) found = hv_user_find(name, error);
    if (!found)
        return false;
    *user = found->uid != 0 ? g_steal_pointer(&found) : NULL;
    return true;
}

// Tried where nothing is said: a node whose processors are too slow for the deadlines may know
// better.
static bool choose_accelerator(const HvLauncher *launcher, const HvNodeSetup *setup, HvNode *node,
                               GError **error)
{
    if (!setup->accelerator) {
        bool kvm = hv_node_try_kvm(launcher, node->qemu_path, &node->accelerator_reason);
        node->accelerator = g_strdup(kvm ? "kvm" : "tcg");
        return true;
    }
    g_autofree char *reason = NULL;
    if (strcmp(setup->accelerator, "kvm") == 0 && !hv_node_kvm_opens(&reason)) {
        g_set_error(error, HV_ERROR, HV_ERROR_START, "accelerator is \"kvm\", but %s", reason);
        return false;
    }
    node->accelerator = g_strdup(setup->accelerator);
    node->accelerator_reason = g_strdup("as configured");
    return true;
}

HvNode *hv_node_probe(const HvNodeSetup *setup, GError **error)
{
    g_autoptr(HvUser) user = NULL;
    g_autofree char *qemu_path = find_qemu(setup->qemu, error);
    if (!qemu_path || !find_user(setup->user, &user, error))
        return NULL;
    const HvLauncher launcher = {setup->launcher, user};
    g_autofree char *version = ask_version(&launcher, qemu_path, error);
    if (!version)
        return NULL;
    g_autoptr(HvNode) node = g_new0(HvNode, 1);
    node->qemu_path = g_steal_pointer(&qemu_path);
    if (!choose_accelerator(&launcher, setup, node, error))
        return NULL;
    bool knows_device = g_ascii_strtoull(version, NULL, 10) >= DEVICE_SINCE;
    node->userfaultfd = hv_launcher_try_userfault(&launcher, knows_device);
    node->launcher = g_strdup(setup->launcher);
    node->user = g_steal_pointer(&user);
    node->qemu_version = g_steal_pointer(&version);
    node->memory_mib = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >> 20;
    node->cpus = count_cpus();
    return g_steal_pointer(&node);
}

void hv_node_free(HvNode *node)
{
    if (!node)
        return;
    g_free(node->launcher);
    hv_user_unref(node->user);
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
