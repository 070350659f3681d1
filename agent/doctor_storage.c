// SPDX-License-Identifier: GPL-2.0-or-later
// Rules about the nodes' paths to storage and about sbd.
#include "agent/doctor_facts.h"

enum {
    FAILOVER_MAX_S = 20
}; // with the 10 s of the noop's: less than a guest's own disk timeout, 30 s

typedef void (*CheckItem)(DoctorReport *report, const char *node, json_t *item);

// CHECK for each element of ARRAY in SECTION of each node.
static void for_each(DoctorReport *report, json_t *facts, const char *section, const char *array,
                     CheckItem check)
{
    const char *name;
    size_t index;
    json_t *node, *item;

    json_object_foreach (json_object_get(facts, "nodes"), name, node)
        json_array_foreach (json_object_get(doctor_section(node, section), array), index, item)
            check(report, name, item);
}

static void check_replacement(DoctorReport *report, const char *node, json_t *session)
{
    json_int_t seconds = doctor_number(session, "recovery_tmo");

    if (seconds < 0 || seconds > DOCTOR_REPLACEMENT_MAX_S)
        doctor_found(report, node, NULL,
                     "session to %s: replacement_timeout %" JSON_INTEGER_FORMAT " s%s",
                     doctor_text(session, "target"), seconds, seconds < 0 ? " (for ever)" : "");
}

void doctor_rule_iscsi_timeout(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, "iscsi", "sessions", check_replacement);
}

// Where the node has multipath maps; multipathd itself shortens the sessions that it knows.
void doctor_rule_iscsi_failover(DoctorReport *report, json_t *facts)
{
    const char *name;
    size_t index;
    json_t *node, *session;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        json_t *maps = json_object_get(doctor_section(node, "multipath"), "maps");
        json_t *sessions = json_object_get(doctor_section(node, "iscsi"), "sessions");

        json_array_foreach (sessions, index, session) {
            json_int_t seconds = doctor_number(session, "recovery_tmo");

            if (json_array_size(maps) > 0 && (seconds < 0 || seconds > FAILOVER_MAX_S))
                doctor_found(report, name, NULL,
                             "session to %s: replacement_timeout %" JSON_INTEGER_FORMAT " s",
                             doctor_text(session, "target"), seconds);
        }
    }
}

static void check_session(DoctorReport *report, const char *node, json_t *session)
{
    if (g_strcmp0(doctor_text(session, "state"), "LOGGED_IN") != 0)
        doctor_found(report, node, NULL, "session to %s: %s", doctor_text(session, "target"),
                     doctor_text(session, "state"));
}

void doctor_rule_iscsi_down(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, "iscsi", "sessions", check_session);
}

static void check_queue(DoctorReport *report, const char *node, json_t *map)
{
    if (g_strcmp0(doctor_text(map, "queueing"), "on") == 0)
        doctor_found(report, node, NULL, "map %s: queue_if_no_path without an end",
                     doctor_text(map, "name"));
}

void doctor_rule_multipath_queue(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, "multipath", "maps", check_queue);
}

static void check_paths(DoctorReport *report, const char *node, json_t *map)
{
    if (doctor_number(map, "down") > 0)
        doctor_found(report, node, NULL,
                     "map %s: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " paths are down",
                     doctor_text(map, "name"), doctor_number(map, "down"),
                     doctor_number(map, "paths"));
}

void doctor_rule_multipath_down(DoctorReport *report, json_t *facts)
{
    for_each(report, facts, "multipath", "maps", check_paths);
}

static bool fences_by(json_t *facts, const char *agent)
{
    size_t index;
    json_t *device;

    json_array_foreach (json_object_get(json_object_get(facts, "cib"), "fencing"), index, device)
        if (g_strcmp0(doctor_text(device, "agent"), agent) == 0)
            return true;
    return false;
}

void doctor_rule_multipath_no_key(DoctorReport *report, json_t *facts)
{
    const char *name;
    json_t *node;

    if (!fences_by(facts, "fence_mpath"))
        return;
    json_object_foreach (json_object_get(facts, "nodes"), name, node)
        if (json_is_false(json_object_get(doctor_section(node, "multipath"), "reservation_key")))
            doctor_found(report, name, NULL, "multipathd's configuration has no reservation_key");
}

static void for_each_sbd(DoctorReport *report, json_t *facts, CheckItem check)
{
    const char *name;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        json_t *sbd = doctor_section(node, "sbd");

        if (json_is_true(json_object_get(sbd, "running")))
            check(report, name, sbd);
    }
}

static void check_watchdog(DoctorReport *report, const char *node, json_t *sbd)
{
    if (json_is_false(json_object_get(sbd, "watchdog")))
        doctor_found(report, node, NULL, "there is no %s", doctor_text(sbd, "watchdog_device"));
}

void doctor_rule_sbd_no_watchdog(DoctorReport *report, json_t *facts)
{
    for_each_sbd(report, facts, check_watchdog);
}

static void check_softdog(DoctorReport *report, const char *node, json_t *sbd)
{
    const char *identity = doctor_text(sbd, "watchdog_identity");

    if (identity != NULL && g_strcmp0(identity, "Software Watchdog") == 0)
        doctor_found(report, node, NULL, "%s is \"%s\"", doctor_text(sbd, "watchdog_device"),
                     identity);
}

void doctor_rule_sbd_softdog(DoctorReport *report, json_t *facts)
{
    for_each_sbd(report, facts, check_softdog);
}

// T2 and T3: by the LUN's own times.
static void check_pill(DoctorReport *report, json_t *facts, const char *node, json_t *sbd)
{
    gint64 stonith_ms = doctor_ms(doctor_property(facts, "stonith-timeout", "60s"), 60 * 1000);
    json_int_t watchdog = doctor_number(sbd, "lun_watchdog_s");
    json_int_t msgwait = doctor_number(sbd, "lun_msgwait_s");

    if (msgwait == 0)
        doctor_unknown(report, node, NULL, "sbd's LUN %s does not tell its times",
                       doctor_text(sbd, "device"));
    else if (2 * watchdog > msgwait)
        doctor_found(report, node, NULL,
                     "watchdog %" JSON_INTEGER_FORMAT " s, msgwait %" JSON_INTEGER_FORMAT " s",
                     watchdog, msgwait);
    else if (msgwait * 1200 >= stonith_ms)
        doctor_found(report, node, NULL,
                     "msgwait %" JSON_INTEGER_FORMAT " s, stonith-timeout %" G_GINT64_FORMAT " s",
                     msgwait, stonith_ms / 1000);
}

// T4.
static void check_self(DoctorReport *report, json_t *facts, const char *node, json_t *sbd)
{
    const char *value = doctor_property(facts, "stonith-watchdog-timeout", "0");
    gint64 given = doctor_ms(value, 0); // 0 also for -1: Pacemaker then takes twice sbd's
    json_int_t watchdog = doctor_number(sbd, "watchdog_timeout_s");

    if (given > 0 && 2 * watchdog * 1000 > given)
        doctor_found(report, node, NULL,
                     "SBD_WATCHDOG_TIMEOUT %" JSON_INTEGER_FORMAT " s, stonith-watchdog-timeout %s",
                     watchdog, value);
}

void doctor_rule_sbd_timeouts(DoctorReport *report, json_t *facts)
{
    const char *name;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        json_t *sbd = doctor_section(node, "sbd");

        if (!json_is_true(json_object_get(sbd, "running")))
            continue;
        if (doctor_text(sbd, "device") != NULL)
            check_pill(report, facts, name, sbd);
        else
            check_self(report, facts, name, sbd);
    }
}
