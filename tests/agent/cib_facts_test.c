// SPDX-License-Identifier: GPL-2.0-or-later
// What is read of the CIB's configuration about fencing and about VMs' operations.
#include "agent/cib_facts.h"

#include <glib.h>
#include <string.h>

static const char configuration[] =
    "<configuration><crm_config><cluster_property_set id='a'>"
    "<nvpair id='a1' name='stonith-enabled' value='false'/></cluster_property_set>"
    "<cluster_property_set id='b'><nvpair id='b1' name='stonith-enabled' value='true'/>"
    "</cluster_property_set></crm_config>"
    "<nodes><node id='1' uname='n1'/></nodes><resources>"
    "<primitive id='power' class='stonith' type='fence_ipmilan'><instance_attributes id='p'>"
    "<nvpair id='p1' name='ip' value='192.0.2.1'/></instance_attributes></primitive>"
    "<group id='g'><primitive id='web' class='ocf' provider='vmferry' type='VirtualMachine'>"
    "<instance_attributes id='d'><nvpair id='d1' name='definition' "
    "value='{}'/></instance_attributes>"
    "<meta_attributes id='h'><rule id='r' score='1'/><nvpair id='h1' name='is-managed' "
    "value='false'/>"
    "</meta_attributes><operations><op id='o' name='stop' interval='0' timeout='30s'/></operations>"
    "</primitive></group></resources><fencing-topology>"
    "<fencing-level id='l' target='n1' index='2' devices='power, other'/></fencing-topology>"
    "</configuration>";

static json_t *parse(const char *text)
{
    xmlDoc *doc = xmlReadMemory(text, (int)strlen(text), NULL, NULL, 0);
    g_assert_nonnull(doc);
    json_t *facts = cib_facts(xmlDocGetRootElement(doc));
    xmlFreeDoc(doc);
    return facts;
}

static void test_all(void)
{
    json_t *facts = parse(configuration);
    json_t *expected =
        json_pack("{s:{s:s}, s:{}, s:{}, s:[s], s:[{s:s, s:s, s:{s:s}, s:{}}],"
                  " s:[{s:s, s:i, s:[s, s]}], s:[{s:s, s:s, s:{}, s:[{s:s, s:s, s:s, s:n}]}]}",
                  "properties", "stonith-enabled", "false", "op_defaults", "rsc_defaults", "nodes",
                  "n1", "fencing", "id", "power", "agent", "fence_ipmilan", "params", "ip",
                  "192.0.2.1", "meta", "topology", "target", "n1", "index", 2, "devices", "power",
                  "other", "vms", "name", "web", "definition", "{}", "meta", "ops", "name", "stop",
                  "interval", "0", "timeout", "30s", "on-fail");
    g_assert_nonnull(expected);
    g_assert_true(json_equal(facts, expected));
    json_decref(expected);
    json_decref(facts);
}

static void test_empty(void)
{
    json_t *facts = parse("<configuration/>");
    g_assert_cmpuint(json_array_size(json_object_get(facts, "fencing")), ==, 0);
    g_assert_true(json_is_object(json_object_get(facts, "properties")));
    json_decref(facts);
    facts = cib_facts(NULL);
    g_assert_true(json_is_array(json_object_get(facts, "vms")));
    json_decref(facts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cib_facts/all", test_all);
    g_test_add_func("/cib_facts/empty", test_empty);
    return g_test_run();
}
