// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/resources.h"

bool hv_resources_have_systemd(void)
{
    g_autofree char *program = g_find_program_in_path("systemd-run");
    return program && g_file_test("/run/systemd/system", G_FILE_TEST_IS_DIR) &&
           g_file_test("/sys/fs/cgroup/cgroup.controllers", G_FILE_TEST_EXISTS);
}

static void add_property(GPtrArray *words, const char *name, uint64_t value, const char *unit)
{
    if (value)
        g_ptr_array_add(words, g_strdup_printf("--property=%s=%" PRIu64 "%s", name, value, unit));
}

// The scope before may still be there when the VM starts again.
static char *unit_word(const HvDefinition *definition)
{
    return g_strdup_printf("--unit=vmferry-%s-%" G_GINT64_FORMAT, definition->name,
                           g_get_monotonic_time() / G_TIME_SPAN_MILLISECOND);
}

static GPtrArray *scope_words(const HvDefinition *definition)
{
    const HvResources *resources = &definition->resources;
    GPtrArray *words = g_ptr_array_new();
    g_autofree char *program = g_find_program_in_path("systemd-run");
    g_ptr_array_add(words, g_strdup(program ? program : "/usr/bin/systemd-run"));
    g_ptr_array_add(words, g_strdup("--scope"));
    g_ptr_array_add(words, g_strdup("--quiet"));
    g_ptr_array_add(words, g_strdup("--collect"));
    g_ptr_array_add(words, g_strdup("--slice=vmferry.slice"));
    g_ptr_array_add(words, unit_word(definition));
    g_ptr_array_add(words, g_strdup("--property=After=vmferryd.service"));
    g_ptr_array_add(words, g_strdup("--property=Before=pacemaker.service"));
    g_ptr_array_add(words, g_strdup_printf("--description=VM %s", definition->name));
    add_property(words, "CPUWeight", resources->cpu_weight, "");
    add_property(words, "IOWeight", resources->io_weight, "");
    add_property(words, "MemoryMax", resources->memory_max_mib, "M");
    g_ptr_array_add(words, g_strdup("--"));
    return words;
}

char *hv_resources_wrap(GPtrArray *argv, const HvDefinition *definition, bool systemd)
{
    const HvResources *resources = &definition->resources;
    bool limits = resources->cpu_weight || resources->io_weight || resources->memory_max_mib;
    if (!systemd)
        return limits ? g_strdup("resources: not applied: this node has no systemd with the "
                                 "unified cgroup hierarchy")
                      : NULL;
    g_autoptr(GPtrArray) words = scope_words(definition);
    for (guint i = 0; i < words->len; i++)
        g_ptr_array_insert(argv, (gint)i, words->pdata[i]);
    return NULL;
}
