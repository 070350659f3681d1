// SPDX-License-Identifier: GPL-2.0-or-later
// Rules about what the nodes are able to do, beside each other.
#include "agent/doctor_collect.h"
#include "agent/doctor_facts.h"

enum { CLOCK_MAX_MS = 1000 };

static void check_section(DoctorReport *report, const char *node, json_t *all, const char *section)
{
    json_t *found = json_object_get(all, section);
    const char *problem = doctor_text(found, "problem");

    if (found == NULL)
        doctor_unknown(report, node, NULL, "%s: no answer within %d s", section,
                       DOCTOR_COLLECT_MS / 1000);
    else if (problem != NULL)
        doctor_unknown(report, node, NULL, "%s: %s", section, problem);
}

static void check_sections(DoctorReport *report, json_t *facts, const char *node, json_t *all)
{
    size_t index;
    json_t *vm;

    for (const char *const *section = doctor_sections; *section != NULL; section++)
        check_section(report, node, all, *section);
    json_array_foreach (json_object_get(facts, "vms"), index, vm) {
        g_autofree char *section = g_strconcat("vm ", doctor_text(vm, "name"), NULL);

        if (json_is_object(json_object_get(vm, "definition")))
            check_section(report, node, all, section);
    }
}

void doctor_rule_not_looked_at(DoctorReport *report, json_t *facts)
{
    const char *name;
    json_t *node;

    if (!json_is_object(json_object_get(facts, "cib")))
        doctor_unknown(report, NULL, NULL, "Pacemaker's configuration: Pacemaker does not answer");
    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        const char *problem = doctor_text(node, "problem");

        if (problem != NULL)
            doctor_unknown(report, name, NULL, "%s", problem);
        else
            check_sections(report, facts, name, node);
    }
}

void doctor_rule_clock_apart(DoctorReport *report, json_t *facts)
{
    const char *name;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        json_t *clock = json_object_get(node, "clock");
        double offset = json_number_value(json_object_get(clock, "offset_ms"));
        double margin = json_number_value(json_object_get(clock, "margin_ms"));

        if (doctor_text(node, "problem") != NULL)
            continue;
        if (!json_is_object(clock) || margin > CLOCK_MAX_MS)
            doctor_unknown(report, name, NULL, "it did not tell the time soon enough");
        else if (ABS(offset) - margin > CLOCK_MAX_MS)
            doctor_found(report, name, NULL,
                         "%.1f s %s the clock of the node that was asked (+- %.0f ms)",
                         ABS(offset) / 1000, offset > 0 ? "ahead of" : "behind", margin);
    }
}

// KEY of the host section of each node; told where they are not all the same: "n1: 7.2, n2: 10.0".
static void check_same(DoctorReport *report, json_t *facts, const char *key)
{
    g_autoptr(GString) seen = g_string_new(NULL);
    const char *first = NULL, *name;
    bool differs = false;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        const char *value = doctor_text(doctor_section(node, "host"), key);

        if (value == NULL)
            continue;
        g_string_append_printf(seen, "%s%s: %s", seen->len > 0 ? ", " : "", name, value);
        first = first != NULL ? first : value;
        differs |= strcmp(first, value) != 0;
    }
    if (differs)
        doctor_found(report, NULL, NULL, "%s", seen->str);
}

void doctor_rule_vmferry_differs(DoctorReport *report, json_t *facts)
{
    check_same(report, facts, "vmferry_version");
}

void doctor_rule_qemu_differs(DoctorReport *report, json_t *facts)
{
    check_same(report, facts, "qemu_version");
}

void doctor_rule_accelerator_differs(DoctorReport *report, json_t *facts)
{
    check_same(report, facts, "accelerator");
}

void doctor_rule_no_kvm(DoctorReport *report, json_t *facts)
{
    const char *name, *reason = NULL;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        json_t *host = doctor_section(node, "host");
        const char *accelerator = doctor_text(host, "accelerator");

        if (g_strcmp0(accelerator, "kvm") == 0)
            return;
        reason = accelerator != NULL ? doctor_text(host, "accelerator_reason") : reason;
    }
    if (reason != NULL)
        doctor_found(report, NULL, NULL, "%s", reason);
}

static bool has_word(const char *words, const char *word)
{
    g_auto(GStrv) all = g_strsplit(words, " ", -1);

    return g_strv_contains((const char *const *)all, word);
}

// The words of WORDS that OTHER lacks, at most five and how many more; NULL where there are none.
static char *lacking(const char *words, const char *other)
{
    g_auto(GStrv) all = g_strsplit(words, " ", -1);
    g_auto(GStrv) others = g_strsplit(other, " ", -1);
    g_autoptr(GString) text = g_string_new(NULL);
    guint count = 0;

    for (char **word = all; *word != NULL; word++)
        if (!g_strv_contains((const char *const *)others, *word) && ++count <= 5)
            g_string_append_printf(text, "%s%s", count > 1 ? " " : "", *word);
    if (count > 5)
        g_string_append_printf(text, " and %u more", count - 5);
    return count > 0 ? g_strdup(text->str) : NULL;
}

static void check_cpus(DoctorReport *report, json_t *facts, const char *vm)
{
    const char *first = NULL, *flags = NULL, *name;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        const char *found = doctor_text(doctor_section(node, "host"), "cpu_flags");

        if (found == NULL)
            continue;
        if (flags == NULL) {
            first = name;
            flags = found;
            continue;
        }
        g_autofree char *here = lacking(flags, found);
        g_autofree char *there = lacking(found, flags);
        if (here != NULL)
            doctor_found(report, name, vm, "lacks %s, which %s has", here, first);
        else if (there != NULL)
            doctor_found(report, first, vm, "lacks %s, which %s has", there, name);
    }
}

void doctor_rule_cpu_differs(DoctorReport *report, json_t *facts)
{
    size_t index;
    json_t *vm;

    json_array_foreach (json_object_get(facts, "vms"), index, vm) {
        const char *cpu = doctor_text(json_object_get(vm, "definition"), "cpu");

        if (cpu != NULL && (g_str_has_prefix(cpu, "host") || g_str_has_prefix(cpu, "max")))
            check_cpus(report, facts, doctor_text(vm, "name"));
    }
}

void doctor_rule_machine_missing(DoctorReport *report, json_t *facts)
{
    const char *name;
    size_t index;
    json_t *node, *vm;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        const char *machines = doctor_text(doctor_section(node, "host"), "machines");

        json_array_foreach (json_object_get(facts, "vms"), index, vm) {
            const char *machine = doctor_text(json_object_get(vm, "definition"), "machine");

            if (machines != NULL && machine != NULL && !has_word(machines, machine))
                doctor_found(report, name, doctor_text(vm, "name"), "%s is not in its QEMU %s",
                             machine, doctor_text(doctor_section(node, "host"), "qemu_version"));
        }
    }
}

void doctor_rule_no_userfaultfd(DoctorReport *report, json_t *facts)
{
    const char *name;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node)
        if (json_is_false(json_object_get(doctor_section(node, "host"), "userfaultfd")))
            doctor_found(report, name, NULL, "the system call is refused");
}

void doctor_rule_memory_n_1(DoctorReport *report, json_t *facts)
{
    json_int_t all = 0, largest = 0, needed = 0;
    const char *name;
    size_t index;
    json_t *node, *vm;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        json_int_t memory = doctor_number(doctor_section(node, "host"), "memory_mib");

        if (memory == 0)
            return; // of a node that did not say, nothing can be said
        all += memory;
        largest = MAX(largest, memory);
    }
    json_array_foreach (json_object_get(facts, "vms"), index, vm)
        if (g_strcmp0(doctor_text(json_object_get(vm, "meta"), "target-role"), "Stopped") != 0)
            needed += doctor_number(json_object_get(vm, "definition"), "memory_mib");
    if (needed > all - largest)
        doctor_found(report, NULL, NULL,
                     "the VMs need %" JSON_INTEGER_FORMAT
                     " MiB, all nodes but the largest have %" JSON_INTEGER_FORMAT " MiB",
                     needed, all - largest);
}
