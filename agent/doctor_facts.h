// SPDX-License-Identifier: GPL-2.0-or-later
// Reading facts. Internal to agent/doctor_*.c; what is returned is borrowed.
#pragma once

#include "agent/doctor_report.h"

#include <string.h>

static inline const char *doctor_text(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static inline json_int_t doctor_number(json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

// Besides "vm NAME" for each VM; ends with NULL. What is in them: agent/doctor_look.h.
extern const char *const doctor_sections[];

// The section of one node's facts; NULL where it did not come or could not be looked at, which the
// rule not-looked-at tells.
static inline json_t *doctor_section(json_t *node, const char *name)
{
    json_t *section = json_object_get(node, name);

    return json_object_get(section, "problem") == NULL ? section : NULL;
}

static inline json_t *doctor_vm_section(json_t *node, const char *vm)
{
    g_autofree char *name = g_strconcat("vm ", vm, NULL);

    return doctor_section(node, name);
}

// A cluster property, or the default.
static inline const char *doctor_property(json_t *facts, const char *name, const char *otherwise)
{
    json_t *properties = json_object_get(json_object_get(facts, "cib"), "properties");
    const char *value = doctor_text(properties, name);

    return value != NULL ? value : otherwise;
}

// As Pacemaker reads booleans.
static inline bool doctor_true(const char *value)
{
    static const char *const yes[] = {"true", "on", "yes", "y", "1", NULL};
    g_autofree char *lower = g_ascii_strdown(value != NULL ? value : "", -1);

    return g_strv_contains(yes, lower);
}

// As Pacemaker reads times ("60s", "2min", "500ms", "60"), in ms; OTHERWISE where there is none or
// it cannot be read.
gint64 doctor_ms(const char *text, gint64 otherwise);

// The least timeouts of a VM's operations; as the resource agent's meta-data (docs/TIMEOUTS.md,
// P1).
typedef struct {
    const char *name;
    gint64 timeout_ms;
} DoctorOperation;

extern const DoctorOperation doctor_operations[]; // ends with a NULL name

enum { DOCTOR_REPLACEMENT_MAX_S = 160 }; // docs/TIMEOUTS.md, S8
