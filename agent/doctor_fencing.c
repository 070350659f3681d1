// SPDX-License-Identifier: GPL-2.0-or-later
// Rules about fencing, quorum and Pacemaker's configuration.
#include "agent/doctor_facts.h"

static json_t *devices(json_t *facts)
{
    return json_object_get(json_object_get(facts, "cib"), "fencing");
}

static json_t *node_names(json_t *facts)
{
    return json_object_get(json_object_get(facts, "cib"), "nodes");
}

static bool stonith_enabled(json_t *facts)
{
    return doctor_true(doctor_property(facts, "stonith-enabled", "true"));
}

static bool self_fencing(json_t *facts)
{
    const char *value = doctor_property(facts, "stonith-watchdog-timeout", "0");

    return value[0] == '-' || doctor_ms(value, 0) > 0; // -1: twice SBD_WATCHDOG_TIMEOUT
}

// What corosync of any node says; NULL where none did.
static json_t *any_corosync(json_t *facts)
{
    const char *name;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node)
        if (doctor_section(node, "corosync") != NULL)
            return doctor_section(node, "corosync");
    return NULL;
}

void doctor_rule_stonith_disabled(DoctorReport *report, json_t *facts)
{
    if (!stonith_enabled(facts))
        doctor_found(report, NULL, NULL, "stonith-enabled=%s",
                     doctor_property(facts, "stonith-enabled", "true"));
}

void doctor_rule_no_fence_device(DoctorReport *report, json_t *facts)
{
    if (json_is_array(devices(facts)) && json_array_size(devices(facts)) == 0 &&
        !self_fencing(facts))
        doctor_found(report, NULL, NULL,
                     "no resource of class stonith, no stonith-watchdog-timeout");
}

// Whether some node knows a device for TARGET; *KNOWN: whether any node could be asked.
static bool reached(json_t *facts, const char *target, bool *known)
{
    const char *name;
    json_t *node;

    *known = false;
    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        json_t *all = json_object_get(doctor_section(node, "fencing"), "reached");
        json_t *list = json_object_get(all, target);

        *known |= json_is_array(list);
        if (json_array_size(list) > 0)
            return true;
    }
    return false;
}

void doctor_rule_node_not_fenced(DoctorReport *report, json_t *facts)
{
    size_t index;
    json_t *name;
    bool known;

    if (!stonith_enabled(facts) || self_fencing(facts) || json_array_size(devices(facts)) == 0)
        return; // told by another rule, or needs no device
    json_array_foreach (node_names(facts), index, name) {
        const char *node = json_string_value(name);

        if (reached(facts, node, &known))
            continue;
        if (known)
            doctor_found(report, node, NULL, "`stonith_admin --list %s` has no device", node);
        else
            doctor_unknown(report, node, NULL, "no node could ask Pacemaker's fencer");
    }
}

static bool is_device(json_t *facts, const char *id)
{
    size_t index;
    json_t *device;

    json_array_foreach (devices(facts), index, device)
        if (g_strcmp0(doctor_text(device, "id"), id) == 0)
            return true;
    return false;
}

void doctor_rule_topology(DoctorReport *report, json_t *facts)
{
    size_t i, j;
    json_t *level, *device;

    json_array_foreach (json_object_get(json_object_get(facts, "cib"), "topology"), i, level)
        json_array_foreach (json_object_get(level, "devices"), j, device) {
            const char *id = json_string_value(device);

            // "watchdog" is Pacemaker's own, for self-fencing.
            if (id != NULL && strcmp(id, "watchdog") != 0 && !is_device(facts, id))
                doctor_found(report, doctor_text(level, "target"), NULL,
                             "level %" JSON_INTEGER_FORMAT " has %s, which is no fence device",
                             doctor_number(level, "index"), id);
        }
}

void doctor_rule_no_unfencing(DoctorReport *report, json_t *facts)
{
    size_t index;
    json_t *device;

    json_array_foreach (devices(facts), index, device) {
        const char *agent = doctor_text(device, "agent");
        const char *provides = doctor_text(json_object_get(device, "meta"), "provides");

        if ((g_strcmp0(agent, "fence_scsi") == 0 || g_strcmp0(agent, "fence_mpath") == 0) &&
            g_strcmp0(provides, "unfencing") != 0)
            doctor_found(report, NULL, NULL, "device %s (%s) has no provides=unfencing",
                         doctor_text(device, "id"), agent);
    }
}

void doctor_rule_watchdog_without_sbd(DoctorReport *report, json_t *facts)
{
    const char *name;
    json_t *node;

    if (!self_fencing(facts))
        return;
    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        json_t *sbd = doctor_section(node, "sbd");

        if (sbd != NULL && !json_is_true(json_object_get(sbd, "running")))
            doctor_found(report, name, NULL, "stonith-watchdog-timeout=%s, and no sbd runs here",
                         doctor_property(facts, "stonith-watchdog-timeout", ""));
    }
}

static bool has_qdevice(json_t *corosync)
{
    return doctor_text(corosync, "qdevice") != NULL;
}

void doctor_rule_watchdog_two_nodes(DoctorReport *report, json_t *facts)
{
    json_t *corosync = any_corosync(facts);

    if (self_fencing(facts) && json_array_size(devices(facts)) == 0 &&
        doctor_number(corosync, "nodes") == 2 && !has_qdevice(corosync))
        doctor_found(report, NULL, NULL, "two nodes, stonith-watchdog-timeout=%s, no quorum device",
                     doctor_property(facts, "stonith-watchdog-timeout", ""));
}

void doctor_rule_no_quorum_policy(DoctorReport *report, json_t *facts)
{
    const char *policy = doctor_property(facts, "no-quorum-policy", "stop");

    if (strcmp(policy, "ignore") == 0)
        doctor_found(report, NULL, NULL, "no-quorum-policy=%s", policy);
}

void doctor_rule_maintenance(DoctorReport *report, json_t *facts)
{
    if (doctor_true(doctor_property(facts, "maintenance-mode", "false")))
        doctor_found(report, NULL, NULL, "maintenance-mode=true");
}

static bool has_delay(json_t *facts)
{
    size_t index;
    json_t *device;
    const char *priority = doctor_property(facts, "priority-fencing-delay", NULL);

    if (doctor_ms(priority, 0) > 0)
        return true;
    json_array_foreach (devices(facts), index, device) {
        json_t *params = json_object_get(device, "params");
        const char *base = doctor_text(params, "pcmk_delay_base");

        // Also a list, "n1:0s;n2:5s".
        if (doctor_ms(doctor_text(params, "pcmk_delay_max"), 0) > 0 ||
            (base != NULL && strpbrk(base, "123456789") != NULL))
            return true;
    }
    return false;
}

void doctor_rule_two_nodes_no_delay(DoctorReport *report, json_t *facts)
{
    json_t *corosync = any_corosync(facts);

    if (doctor_number(corosync, "nodes") == 2 && !has_qdevice(corosync) &&
        json_is_true(json_object_get(corosync, "two_node")) && !has_delay(facts))
        doctor_found(report, NULL, NULL,
                     "two_node, no quorum device, no priority-fencing-delay or pcmk_delay");
}

void doctor_rule_two_nodes_no_quorum(DoctorReport *report, json_t *facts)
{
    json_t *corosync = any_corosync(facts);

    if (doctor_number(corosync, "nodes") == 2 && !has_qdevice(corosync) &&
        !json_is_true(json_object_get(corosync, "two_node")))
        doctor_found(report, NULL, NULL, "two nodes, neither two_node nor a quorum device");
}

// All nodes have the same CIB: what one says is enough.
void doctor_rule_cib_invalid(DoctorReport *report, json_t *facts)
{
    const char *name;
    json_t *node;

    json_object_foreach (json_object_get(facts, "nodes"), name, node) {
        const char *output = doctor_text(doctor_section(node, "crm_verify"), "output");

        if (output == NULL)
            continue;
        if (*output != '\0')
            doctor_found(report, NULL, NULL, "%s", output);
        return;
    }
}
