// SPDX-License-Identifier: GPL-2.0-or-later
// Rules about disks and state areas: what each node sees of one VM's files.
#include "agent/doctor_facts.h"

typedef void (*CheckVm)(DoctorReport *report, json_t *facts, const char *vm);
typedef void (*CheckNode)(DoctorReport *report, const char *node, const char *vm, json_t *seen);

static void for_each_vm(DoctorReport *report, json_t *facts, CheckVm check)
{
    size_t index;
    json_t *vm;

    json_array_foreach (json_object_get(facts, "vms"), index, vm)
        check(report, facts, doctor_text(vm, "name"));
}

static void for_each_node(DoctorReport *report, json_t *facts, CheckNode check)
{
    size_t index;
    const char *name;
    json_t *vm, *node;

    json_array_foreach (json_object_get(facts, "vms"), index, vm)
        json_object_foreach (json_object_get(facts, "nodes"), name, node) {
            json_t *seen = doctor_vm_section(node, doctor_text(vm, "name"));

            if (seen != NULL)
                check(report, name, doctor_text(vm, "name"), seen);
        }
}

// --- the same on all nodes ---

enum { BOOTED_APART_US = 10 * 1000 }; // of one kernel, as clocks are slewed between two looks

typedef struct {
    const char *node;
    json_int_t booted_us; // nodes whose kernels started at the same moment are one machine (a lab)
    json_t *file;
} View;

static bool is_class(const View *view, const char *class)
{
    return g_strcmp0(doctor_text(view->file, "class"), class) == 0;
}

static bool same_number(const View *a, const View *b, const char *key)
{
    return doctor_number(a->file, key) == doctor_number(b->file, key);
}

static bool one_machine(const View *a, const View *b)
{
    return a->booted_us != 0 && ABS(a->booted_us - b->booted_us) < BOOTED_APART_US;
}

static void compare_devices(DoctorReport *report, const char *vm, const View *a, const View *b)
{
    const char *path = doctor_text(b->file, "path");
    const char *first = doctor_text(a->file, "wwid"), *second = doctor_text(b->file, "wwid");

    if (first != NULL && second != NULL) {
        if (strcmp(first, second) != 0)
            doctor_found(report, b->node, vm, "%s is %s, on %s %s", path, second, a->node, first);
    } else if (!one_machine(a, b))
        doctor_unknown(report, b->node, vm, "%s: %s has no WWID to compare it by", path,
                       second == NULL ? b->node : a->node);
    else if (!same_number(a, b, "device"))
        doctor_found(report, b->node, vm, "%s is another device than on %s", path, a->node);
}

static void compare_files(DoctorReport *report, const char *vm, const View *a, const View *b)
{
    const char *path = doctor_text(b->file, "path"), *fs = doctor_text(b->file, "fs");

    if (g_strcmp0(doctor_text(a->file, "class"), doctor_text(b->file, "class")) != 0)
        doctor_found(report, b->node, vm, "%s lies on %s, on %s on %s", path, fs, a->node,
                     doctor_text(a->file, "fs"));
    else if (is_class(b, "local") && !one_machine(a, b))
        doctor_found(report, b->node, vm, "%s lies on a local file system (%s)", path, fs);
    else if (!same_number(a, b, "inode") || !same_number(a, b, "blocks") ||
             (is_class(b, "local") && !same_number(a, b, "device")))
        doctor_found(report, b->node, vm, "%s (%s) is another file than on %s", path, fs, a->node);
}

static void compare(DoctorReport *report, const char *vm, const View *a, const View *b)
{
    bool memory = is_class(a, "memory") || is_class(b, "memory");

    if (is_class(a, "block") && is_class(b, "block"))
        compare_devices(report, vm, a, b);
    else if (!memory) // told by in-memory
        compare_files(report, vm, a, b);
}

// What NODE has at PATH in ROLE; FILE is NULL where it has nothing, or need not be shared.
static View view_of(const char *name, json_t *node, const char *vm, const char *role)
{
    View view = {name, doctor_number(doctor_section(node, "host"), "booted_us"), NULL};
    size_t index;
    json_t *file;

    json_array_foreach (json_object_get(doctor_vm_section(node, vm), "files"), index, file)
        if (g_strcmp0(doctor_text(file, "role"), role) == 0 &&
            json_is_true(json_object_get(file, "shared")) && doctor_text(file, "class") != NULL)
            view.file = file;
    return view;
}

static void check_role(DoctorReport *report, json_t *facts, const char *vm, const char *role)
{
    View first = {NULL, 0, NULL};
    const char *name;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        View view = view_of(name, node, vm, role);

        if (view.file == NULL)
            continue;
        if (first.file == NULL)
            first = view;
        else
            compare(report, vm, &first, &view);
    }
}

static void check_shared(DoctorReport *report, json_t *facts, const char *vm)
{
    g_autoptr(GHashTable) roles = g_hash_table_new(g_str_hash, g_str_equal);
    const char *name;
    size_t index;
    json_t *node, *file;

    json_object_foreach (json_object_get(facts, "nodes"), name, node)
        json_array_foreach (json_object_get(doctor_vm_section(node, vm), "files"), index, file) {
            const char *role = doctor_text(file, "role");

            if (role != NULL && g_hash_table_add(roles, (gpointer)role))
                check_role(report, facts, vm, role);
        }
}

void doctor_rule_not_shared(DoctorReport *report, json_t *facts)
{
    for_each_vm(report, facts, check_shared);
}

// --- on each node ---

static void check_memory(DoctorReport *report, const char *node, const char *vm, json_t *seen)
{
    size_t index;
    json_t *file;

    json_array_foreach (json_object_get(seen, "files"), index, file)
        if (g_strcmp0(doctor_text(file, "class"), "memory") == 0)
            doctor_found(report, node, vm, "%s lies on %s", doctor_text(file, "path"),
                         doctor_text(file, "fs"));
}

void doctor_rule_in_memory(DoctorReport *report, json_t *facts)
{
    for_each_node(report, facts, check_memory);
}

static void check_run(DoctorReport *report, const char *node, const char *vm, json_t *seen)
{
    if (doctor_text(seen, "cannot_run") != NULL)
        doctor_found(report, node, vm, "%s", doctor_text(seen, "cannot_run"));
}

void doctor_rule_cannot_run(DoctorReport *report, json_t *facts)
{
    for_each_node(report, facts, check_run);
}

static void find_storage(DoctorReport *report, const char *node, const char *vm, json_t *seen,
                         const char *state)
{
    size_t index;
    json_t *entry;

    json_array_foreach (json_object_get(seen, "storage"), index, entry)
        if (g_strcmp0(doctor_text(entry, "state"), state) == 0)
            doctor_found(report, node, vm, "storage %s: %s", doctor_text(entry, "name"),
                         doctor_text(entry, "problem"));
}

static void check_failed(DoctorReport *report, const char *node, const char *vm, json_t *seen)
{
    find_storage(report, node, vm, seen, "failed");
}

void doctor_rule_storage_failed(DoctorReport *report, json_t *facts)
{
    for_each_node(report, facts, check_failed);
}

static void check_degraded(DoctorReport *report, const char *node, const char *vm, json_t *seen)
{
    find_storage(report, node, vm, seen, "degraded");
}

void doctor_rule_storage_degraded(DoctorReport *report, json_t *facts)
{
    for_each_node(report, facts, check_degraded);
}

static void check_cache(DoctorReport *report, const char *node, const char *vm, json_t *seen)
{
    if (doctor_text(seen, "unsafe_cache") != NULL)
        doctor_found(report, node, vm, "its command line has %s",
                     doctor_text(seen, "unsafe_cache"));
}

void doctor_rule_cache(DoctorReport *report, json_t *facts)
{
    for_each_node(report, facts, check_cache);
}

static void check_area(DoctorReport *report, const char *node, const char *vm, json_t *seen)
{
    if (doctor_text(seen, "area_problem") != NULL)
        doctor_found(report, node, vm, "%s", doctor_text(seen, "area_problem"));
}

void doctor_rule_area_bad(DoctorReport *report, json_t *facts)
{
    for_each_node(report, facts, check_area);
}

static void check_record(DoctorReport *report, const char *node, const char *vm, json_t *seen)
{
    if (g_strcmp0(doctor_text(seen, "record"), "quarantined") == 0)
        doctor_found(report, node, vm, "its run record says quarantined");
}

void doctor_rule_area_quarantined(DoctorReport *report, json_t *facts)
{
    for_each_node(report, facts, check_record);
}

static bool same_file(json_t *a, json_t *b)
{
    const char *first = doctor_text(a, "wwid"), *second = doctor_text(b, "wwid");

    if (g_strcmp0(doctor_text(a, "class"), doctor_text(b, "class")) != 0)
        return false;
    if (first != NULL && second != NULL)
        return strcmp(first, second) == 0;
    return doctor_number(a, "device") == doctor_number(b, "device") &&
           doctor_number(a, "inode") == doctor_number(b, "inode");
}

static void check_overlap(DoctorReport *report, const char *node, const char *vm, json_t *seen)
{
    json_t *files = json_object_get(seen, "files"), *area = NULL, *file;
    size_t index;

    json_array_foreach (files, index, file)
        if (g_strcmp0(doctor_text(file, "role"), "state area") == 0)
            area = file;
    json_array_foreach (files, index, file)
        if (area != NULL && file != area && doctor_text(area, "class") != NULL &&
            same_file(file, area))
            doctor_found(report, node, vm, "state area %s is the same as %s %s",
                         doctor_text(area, "path"), doctor_text(file, "role"),
                         doctor_text(file, "path"));
}

void doctor_rule_area_on_disk(DoctorReport *report, json_t *facts)
{
    for_each_node(report, facts, check_overlap);
}
