// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/doctor.h"

#include "agent/doctor_collect.h"
#include "agent/doctor_report.h"
#include "agent/messages.h"
#include "hvcore/definition.h"

#include <string.h>

// --- what is asked of this node ---

void agent_doctor_clock(Agent *agent, AgentReplyFn reply, gpointer data)
{
    json_t *result = json_pack("{s:I}", "now_us", (json_int_t)g_get_real_time());

    (void)agent;
    reply(result, NULL, data);
    json_decref(result);
}

typedef struct {
    AgentReplyFn reply;
    gpointer data;
} Inspect;

static void inspected(json_t *sections, gpointer data)
{
    g_autofree Inspect *inspect = data;

    inspect->reply(sections, NULL, inspect->data);
}

void agent_doctor_inspect(Agent *agent, AgentReplyFn reply, gpointer data)
{
    Inspect *inspect = g_new(Inspect, 1);

    *inspect = (Inspect){reply, data};
    doctor_collect(agent, inspected, inspect);
}

// --- what an admin asks for ---

typedef struct {
    json_t *facts;
    guint references, timer, left; // LEFT: answers that are not there yet
    AgentReplyFn reply;            // NULL: it was called
    gpointer data;
} Doctor;

// One call to one node.
typedef struct {
    Doctor *doctor;
    char *node;
    gint64 sent_us, real_us;
} Ask;

static void doctor_release(Doctor *doctor)
{
    if (--doctor->references > 0)
        return;
    json_decref(doctor->facts);
    g_free(doctor);
}

static void doctor_end(Doctor *doctor)
{
    AgentReplyFn reply = g_steal_pointer(&doctor->reply);
    json_t *answer = doctor_judge(doctor->facts);

    g_clear_handle_id(&doctor->timer, g_source_remove);
    reply(answer, NULL, doctor->data);
    json_decref(answer);
    doctor_release(doctor);
}

static gboolean doctor_is_late(gpointer data)
{
    Doctor *doctor = data;

    doctor->timer = 0;
    doctor_end(doctor);
    return G_SOURCE_REMOVE;
}

static json_t *node_facts(Doctor *doctor, const char *node)
{
    return json_object_get(json_object_get(doctor->facts, "nodes"), node);
}

static void ask_free(Ask *ask)
{
    Doctor *doctor = ask->doctor;

    if (doctor->reply != NULL && --doctor->left == 0)
        doctor_end(doctor);
    doctor_release(doctor);
    g_free(ask->node);
    g_free(ask);
}

// By half of the round trip either way, the answer was given some time between.
static void clock_told(json_t *result, const GError *error, gpointer data)
{
    Ask *ask = data;
    double trip_ms = (double)(g_get_monotonic_time() - ask->sent_us) / 1000;
    json_int_t now_us = json_integer_value(json_object_get(result, "now_us"));
    double apart_ms = (double)(now_us - ask->real_us) / 1000;

    if (error == NULL && ask->doctor->reply != NULL)
        json_object_set_new(
            node_facts(ask->doctor, ask->node), "clock",
            json_pack("{s:f, s:f}", "offset_ms", apart_ms - trip_ms / 2, "margin_ms", trip_ms / 2));
    ask_free(ask);
}

static void node_told(json_t *result, const GError *error, gpointer data)
{
    Ask *ask = data;
    json_t *facts = ask->doctor->reply != NULL ? node_facts(ask->doctor, ask->node) : NULL;

    if (facts != NULL)
        json_object_del(facts, "problem");
    if (facts != NULL && error != NULL)
        json_object_set_new(facts, "problem", json_string(error->message));
    else if (facts != NULL)
        json_object_update(facts, result);
    ask_free(ask);
}

static Ask *ask_new(Doctor *doctor, const char *node)
{
    Ask *ask = g_new(Ask, 1);

    *ask = (Ask){doctor, g_strdup(node), g_get_monotonic_time(), g_get_real_time()};
    doctor->references++;
    return ask;
}

// Its VMs with their definitions as objects, or what is wrong with them.
static json_t *vms_of(json_t *cib)
{
    json_t *vms = json_array();
    size_t index;
    json_t *found;

    json_array_foreach (json_object_get(cib, "vms"), index, found) {
        const char *text = json_string_value(json_object_get(found, "definition"));
        g_autoptr(GError) error = NULL;
        g_autoptr(HvDefinition) definition = hv_definition_parse(text != NULL ? text : "", &error);
        g_autofree char *canonical = definition != NULL ? hv_definition_to_json(definition) : NULL;
        json_t *vm = json_copy(found);

        json_object_set_new(vm, "definition",
                            canonical != NULL ? json_loads(canonical, 0, NULL) : json_null());
        if (error != NULL)
            json_object_set_new(vm, "problem", json_string(error->message));
        json_array_append_new(vms, vm);
    }
    return vms;
}

// All nodes that corosync or Pacemaker knows, none of which has said anything yet.
static json_t *nodes_of(Agent *agent, json_t *cib)
{
    json_t *nodes = json_object(), *members = agent_cluster_nodes(agent->cluster), *item;
    size_t index;

    json_array_foreach (members, index, item) {
        const char *name = json_string_value(json_object_get(item, "name"));

        if (name != NULL)
            json_object_set_new(nodes, name, json_object());
    }
    json_array_foreach (json_object_get(cib, "nodes"), index, item)
        if (json_is_string(item))
            json_object_set_new(nodes, json_string_value(item), json_object());
    json_decref(members);
    return nodes;
}

static Doctor *doctor_new(Agent *agent, AgentReplyFn reply, gpointer data)
{
    json_t *cib = agent_pacemaker_connected(agent->pacemaker)
                      ? agent_pacemaker_facts(agent->pacemaker)
                      : NULL;
    Doctor *doctor = g_new0(Doctor, 1);

    doctor->reply = reply;
    doctor->data = data;
    doctor->references = 1;
    doctor->facts = json_pack("{s:o, s:o, s:o?}", "vms", vms_of(cib), "nodes", nodes_of(agent, cib),
                              "cib", cib);
    return doctor;
}

void agent_service_doctor(Agent *agent, AgentReplyFn reply, gpointer data)
{
    g_autoptr(GError) error = NULL;
    const char *name;
    json_t *node;

    if (!agent_cluster_connected(agent->cluster)) {
        g_set_error(&error, AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                    "%s is not connected to corosync; is corosync.service running?", agent->name);
        reply(NULL, error, data);
        return;
    }
    Doctor *doctor = doctor_new(agent, reply, data);
    json_t *nodes = json_object_get(doctor->facts, "nodes");
    doctor->timer = g_timeout_add(DOCTOR_WAIT_MS, doctor_is_late, doctor);
    doctor->references++; // until all are asked: a node that is not there answers at once
    doctor->left = 1 + 2 * (guint)json_object_size(nodes);
    g_autofree const char **names = g_new(const char *, json_object_size(nodes));
    size_t count = 0;
    json_object_foreach (nodes, name, node) {
        json_object_set_new(node, "problem", json_string("its vmferryd does not answer"));
        names[count++] = name;
    }
    for (size_t i = 0; i < count; i++)
        agent_messages_call(agent, names[i], "clock", json_object(), clock_told,
                            ask_new(doctor, names[i]));
    for (size_t i = 0; i < count; i++)
        agent_messages_call(agent, names[i], "inspect", json_object(), node_told,
                            ask_new(doctor, names[i]));
    if (--doctor->left == 0)
        doctor_end(doctor);
    doctor_release(doctor);
}
