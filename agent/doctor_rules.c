// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/doctor_report.h"

#include "agent/doctor_facts.h"

typedef enum { NOTE, UNKNOWN, WARNING, DANGER } Level;

static const char *const level_names[] = {"note", "unknown", "warning", "danger"};

typedef struct {
    const char *id;
    Level level;
    DoctorRule rule;
    const char *title, *why, *remedy;
} Entry;

static const Entry entries[] = {
#define DOCTOR_RULE(id, level, function, title, why, remedy)                                       \
    {id, level, function, title, why, remedy},
#include "agent/doctor.def"
#undef DOCTOR_RULE
};

const char *const doctor_sections[] = {"host",  "corosync",  "fencing", "crm_verify",
                                       "iscsi", "multipath", "sbd",     NULL};

struct DoctorReport {
    const Entry *asked;
    json_t *found[DANGER + 1];
};

static json_t *text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

static void add(DoctorReport *report, Level level, const char *node, const char *vm,
                const char *format, va_list args)
{
    const Entry *entry = report->asked;
    g_autofree char *raw = g_strdup_vprintf(format, args);
    g_autofree char *seen = g_utf8_make_valid(raw, -1);

    json_array_append_new(report->found[level],
                          json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:s}", "id", entry->id,
                                    "level", level_names[level], "title", entry->title, "node",
                                    text_or_null(node), "vm", text_or_null(vm), "seen", seen, "why",
                                    entry->why, "remedy", entry->remedy));
}

void doctor_found(DoctorReport *report, const char *node, const char *vm, const char *seen, ...)
{
    va_list args;

    va_start(args, seen);
    add(report, report->asked->level, node, vm, seen, args);
    va_end(args);
}

void doctor_unknown(DoctorReport *report, const char *node, const char *vm, const char *seen, ...)
{
    va_list args;

    va_start(args, seen);
    add(report, UNKNOWN, node, vm, seen, args);
    va_end(args);
}

json_t *doctor_judge(json_t *facts)
{
    DoctorReport report = {NULL, {json_array(), json_array(), json_array(), json_array()}};
    json_t *findings = json_array();
    const char *verdict = "clean";

    for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
        report.asked = &entries[i];
        entries[i].rule(&report, facts);
    }
    for (int level = DANGER; level >= NOTE; level--) {
        if (json_array_size(findings) == 0 && json_array_size(report.found[level]) > 0)
            verdict = level_names[level];
        json_array_extend(findings, report.found[level]);
        json_decref(report.found[level]);
    }
    return json_pack("{s:s, s:i, s:o}", "verdict", verdict, "checks", (int)G_N_ELEMENTS(entries),
                     "findings", findings);
}

gint64 doctor_ms(const char *text, gint64 otherwise)
{
    static const struct {
        const char *unit;
        gint64 ms;
    } units[] = {{"ms", 1},      {"msec", 1},  {"s", 1000},    {"sec", 1000},  {"", 1000},
                 {"min", 60000}, {"m", 60000}, {"h", 3600000}, {"hr", 3600000}};
    char *end = NULL;
    gint64 number = text != NULL ? g_ascii_strtoll(text, &end, 10) : 0;

    if (text == NULL || end == text || number < 0 || number > G_MAXINT32)
        return otherwise;
    for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
        if (g_ascii_strcasecmp(end + strspn(end, " "), units[i].unit) == 0)
            return number * units[i].ms;
    return otherwise;
}
