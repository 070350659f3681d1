// SPDX-License-Identifier: GPL-2.0-or-later
// What `vmferry doctor` finds: rules over facts. Pure; any thread. The facts are (docs/API.md has
// the answer that results):
// {"cib": what agent/cib_facts.h has, or null,
//  "vms": [{"name", "definition" (object, or null), "problem", "meta": {...}, "ops": [...]}],
//  "nodes": {NAME: {"problem": TEXT} or {"clock": {"offset_ms", "margin_ms"}, SECTION: {...}}}}
// A section (agent/doctor_collect.h) that did not come is missing; one with "problem" could not be
// looked at.
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

typedef struct DoctorReport DoctorReport;
typedef void (*DoctorRule)(DoctorReport *report, json_t *facts);

// {"verdict": "clean|note|unknown|warning|danger" (the worst), "checks": how many rules there are,
//  "findings": [{"id", "level", "title", "node", "vm", "seen", "why", "remedy"}]}, the worst first;
//  new
// reference.
json_t *doctor_judge(json_t *facts);

// For rules: what is bad by the rule that is being asked, and what it could not find out. NODE and
// VM may be NULL.
void doctor_found(DoctorReport *report, const char *node, const char *vm, const char *seen, ...)
    G_GNUC_PRINTF(4, 5);
void doctor_unknown(DoctorReport *report, const char *node, const char *vm, const char *seen, ...)
    G_GNUC_PRINTF(4, 5);

// Each of these rules is in doctor.def.
#define DOCTOR_RULE(id, level, function, title, why, remedy)                                       \
    void function(DoctorReport *report, json_t *facts);
#include "agent/doctor.def"
#undef DOCTOR_RULE
