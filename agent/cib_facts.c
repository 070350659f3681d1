// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/cib_facts.h"

#include "agent/cib_tree.h"
#include <glib.h>

static json_t *string_or_null(const char *text)
{
    json_t *string = text ? json_string(text) : NULL;

    return string ? string : json_null();
}

// The pairs of all of PARENT's sets; as in Pacemaker the first one that has a name counts.
static json_t *pairs(const xmlNode *parent, const char *set_name)
{
    json_t *object = json_object();

    for (const xmlNode *set = cib_child(parent, set_name); set; set = cib_next(set, set_name)) {
        if (cib_child(set, "rule"))
            continue;
        for (const xmlNode *pair = cib_child(set, "nvpair"); pair;
             pair = cib_next(pair, "nvpair")) {
            const char *name = cib_attribute(pair, "name");

            if (name && !json_object_get(object, name))
                json_object_set_new(object, name, string_or_null(cib_attribute(pair, "value")));
        }
    }
    return object;
}

static json_t *operations(const xmlNode *primitive)
{
    static const char *const names[] = {"name", "interval", "timeout", "on-fail"};
    const xmlNode *all = cib_child(primitive, "operations");
    json_t *array = json_array();

    for (const xmlNode *op = cib_child(all, "op"); op; op = cib_next(op, "op")) {
        json_t *object = json_object();

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
            json_object_set_new(object, names[i], string_or_null(cib_attribute(op, names[i])));
        json_array_append_new(array, object);
    }
    return array;
}

static void add_fencing(json_t *facts, const xmlNode *primitive)
{
    json_array_append_new(json_object_get(facts, "fencing"),
                          json_pack("{s:o, s:o, s:o, s:o}", "id",
                                    string_or_null(cib_attribute(primitive, "id")), "agent",
                                    string_or_null(cib_attribute(primitive, "type")), "params",
                                    pairs(primitive, "instance_attributes"), "meta",
                                    pairs(primitive, "meta_attributes")));
}

static void add_vm(json_t *facts, const xmlNode *primitive)
{
    json_t *params = pairs(primitive, "instance_attributes");
    json_t *definition = json_object_get(params, "definition");

    json_array_append_new(
        json_object_get(facts, "vms"),
        json_pack("{s:o, s:O, s:o, s:o}", "name", string_or_null(cib_attribute(primitive, "id")),
                  "definition", definition ? definition : json_null(), "meta",
                  pairs(primitive, "meta_attributes"), "ops", operations(primitive)));
    json_decref(params);
}

static bool is_vm(const xmlNode *primitive)
{
    return g_strcmp0(cib_attribute(primitive, "provider"), "vmferry") == 0 &&
           g_strcmp0(cib_attribute(primitive, "type"), "VirtualMachine") == 0;
}

static void add_resources(json_t *facts, const xmlNode *parent)
{
    for (const xmlNode *node = parent ? parent->children : NULL; node; node = node->next) {
        if (cib_is(node, "primitive") && g_strcmp0(cib_attribute(node, "class"), "stonith") == 0)
            add_fencing(facts, node);
        else if (cib_is(node, "primitive") && is_vm(node))
            add_vm(facts, node);
        else if (cib_is(node, "group") || cib_is(node, "clone") || cib_is(node, "master"))
            add_resources(facts, node);
    }
}

static json_t *devices_of(const xmlNode *level)
{
    const char *text = cib_attribute(level, "devices");
    g_auto(GStrv) names = g_strsplit(text ? text : "", ",", -1);
    json_t *array = json_array();

    for (char **name = names; *name; name++)
        if (g_strstrip(*name)[0])
            json_array_append_new(array, json_string(*name));
    return array;
}

static void add_topology(json_t *facts, const xmlNode *topology)
{
    for (const xmlNode *level = cib_child(topology, "fencing-level"); level;
         level = cib_next(level, "fencing-level")) {
        const char *index = cib_attribute(level, "index");

        json_array_append_new(json_object_get(facts, "topology"),
                              json_pack("{s:o, s:I, s:o}", "target",
                                        string_or_null(cib_attribute(level, "target")), "index",
                                        (json_int_t)g_ascii_strtoll(index ? index : "0", NULL, 10),
                                        "devices", devices_of(level)));
    }
}

json_t *cib_facts(const xmlNode *configuration)
{
    const xmlNode *nodes = cib_child(configuration, "nodes");
    json_t *facts = json_pack(
        "{s:o, s:o, s:o, s:[], s:[], s:[], s:[]}", "properties",
        pairs(cib_child(configuration, "crm_config"), "cluster_property_set"), "op_defaults",
        pairs(cib_child(configuration, "op_defaults"), "meta_attributes"), "rsc_defaults",
        pairs(cib_child(configuration, "rsc_defaults"), "meta_attributes"), "nodes", "fencing",
        "topology", "vms");

    for (const xmlNode *node = cib_child(nodes, "node"); node; node = cib_next(node, "node"))
        json_array_append_new(json_object_get(facts, "nodes"),
                              string_or_null(cib_attribute(node, "uname")));
    add_resources(facts, cib_child(configuration, "resources"));
    add_topology(facts, cib_child(configuration, "fencing-topology"));
    return facts;
}
