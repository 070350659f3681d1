// SPDX-License-Identifier: GPL-2.0-or-later
// Rules about VMs as resources of the cluster.
#include "agent/doctor_facts.h"

const DoctorOperation doctor_operations[] = {
    {"start", 300 * 1000},      {"stop", 300 * 1000},        {"monitor", 20 * 1000},
    {"migrate_to", 600 * 1000}, {"migrate_from", 60 * 1000}, {NULL, 0},
};

enum { PACEMAKER_TIMEOUT_MS = 20 * 1000 }; // where neither the operation nor op_defaults has one

static void for_each(DoctorReport *report, json_t *facts,
                     void (*check)(DoctorReport *report, json_t *facts, json_t *vm))
{
    size_t index;
    json_t *vm;

    json_array_foreach (json_object_get(facts, "vms"), index, vm)
        check(report, facts, vm);
}

static void check_definition(DoctorReport *report, json_t *facts, json_t *vm)
{
    (void)facts;
    if (!json_is_object(json_object_get(vm, "definition")))
        doctor_found(report, NULL, doctor_text(vm, "name"), "%s", doctor_text(vm, "problem"));
}

void doctor_rule_definition(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, check_definition);
}

static bool recurs(json_t *op)
{
    return doctor_ms(doctor_text(op, "interval"), 0) > 0;
}

// The operation NAME: of monitors the one that recurs. NULL where there is none.
static json_t *find_op(json_t *vm, const char *name)
{
    size_t index;
    json_t *op;

    json_array_foreach (json_object_get(vm, "ops"), index, op)
        if (g_strcmp0(doctor_text(op, "name"), name) == 0 &&
            (strcmp(name, "monitor") != 0 || recurs(op)))
            return op;
    return NULL;
}

static void check_timeouts(DoctorReport *report, json_t *facts, json_t *vm)
{
    json_t *defaults = json_object_get(json_object_get(facts, "cib"), "op_defaults");
    gint64 otherwise = doctor_ms(doctor_text(defaults, "timeout"), PACEMAKER_TIMEOUT_MS);

    for (const DoctorOperation *least = doctor_operations; least->name != NULL; least++) {
        json_t *op = find_op(vm, least->name);
        gint64 ms = doctor_ms(doctor_text(op, "timeout"), otherwise);

        if (ms < least->timeout_ms && (op != NULL || strcmp(least->name, "monitor") != 0))
            doctor_found(report, NULL, doctor_text(vm, "name"),
                         "%s: %" G_GINT64_FORMAT " s%s, not %" G_GINT64_FORMAT " s", least->name,
                         ms / 1000, op == NULL ? " (Pacemaker's default)" : "",
                         least->timeout_ms / 1000);
    }
}

void doctor_rule_timeout_short(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, check_timeouts);
}

static void check_monitor(DoctorReport *report, json_t *facts, json_t *vm)
{
    (void)facts;
    if (find_op(vm, "monitor") == NULL)
        doctor_found(report, NULL, doctor_text(vm, "name"),
                     "no monitor operation with an interval");
}

void doctor_rule_no_monitor(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, check_monitor);
}

// A meta attribute of the VM, else of all resources.
static const char *meta(json_t *facts, json_t *vm, const char *name)
{
    json_t *defaults = json_object_get(json_object_get(facts, "cib"), "rsc_defaults");
    const char *own = doctor_text(json_object_get(vm, "meta"), name);

    return own != NULL ? own : doctor_text(defaults, name);
}

// Such a VM is stopped and started instead.
static bool mounts_alone(json_t *vm)
{
    size_t index;
    json_t *entry;

    json_array_foreach (json_object_get(json_object_get(vm, "definition"), "storage"), index, entry)
        if (g_strcmp0(doctor_text(entry, "type"), "filesystem") == 0)
            return true;
    return false;
}

static void check_mounted(DoctorReport *report, json_t *facts, json_t *vm)
{
    if (mounts_alone(vm) && doctor_true(meta(facts, vm, "allow-migrate")))
        doctor_found(report, NULL, doctor_text(vm, "name"), "allow-migrate is true");
}

void doctor_rule_migrates_mounted(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, check_mounted);
}

static void check_migrate(DoctorReport *report, json_t *facts, json_t *vm)
{
    const char *value = meta(facts, vm, "allow-migrate");

    if (!mounts_alone(vm) && !doctor_true(value))
        doctor_found(report, NULL, doctor_text(vm, "name"), "allow-migrate is %s",
                     value != NULL ? value : "not set");
}

void doctor_rule_no_migrate(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, check_migrate);
}

static void check_stop(DoctorReport *report, json_t *facts, json_t *vm)
{
    json_t *defaults = json_object_get(json_object_get(facts, "cib"), "op_defaults");
    const char *own = doctor_text(find_op(vm, "stop"), "on-fail");
    const char *value = own != NULL ? own : doctor_text(defaults, "on-fail");

    if (g_strcmp0(value, "ignore") == 0)
        doctor_found(report, NULL, doctor_text(vm, "name"), "stop: on-fail=%s", value);
}

void doctor_rule_stop_failure_ignored(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, check_stop);
}

static void check_managed(DoctorReport *report, json_t *facts, json_t *vm)
{
    const char *value = meta(facts, vm, "is-managed");

    if (value != NULL && !doctor_true(value))
        doctor_found(report, NULL, doctor_text(vm, "name"), "is-managed=%s", value);
}

void doctor_rule_unmanaged(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, check_managed);
}
