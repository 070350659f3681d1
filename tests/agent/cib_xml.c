// SPDX-License-Identifier: GPL-2.0-or-later
// The CIB as vmferry reads and writes it; what it writes is checked against Pacemaker's own schema.
#include "agent/cib_xml.h"
#include <glib/gstdio.h>
#include <libxml/parser.h>
#include <string.h>

#define SCHEMA "/usr/share/pacemaker/pacemaker-3.9.rng"

static const char CIB_HEAD[] =
    "<cib crm_feature_set='3.16.2' validate-with='pacemaker-3.9' epoch='7' num_updates='3' "
    "admin_epoch='0' have-quorum='1' dc-uuid='2'><configuration><crm_config>"
    "<cluster_property_set id='cib-bootstrap-options'>"
    "<nvpair id='p1' name='dc-version' value='2.1.5-a3f44794f94'/>"
    "<nvpair id='p2' name='cluster-name' value='lab'/>"
    "<nvpair id='p3' name='stonith-enabled' value='true'/>"
    "</cluster_property_set></crm_config>"
    "<nodes><node id='1' uname='n1'/>"
    "<node id='2' uname='n2'><instance_attributes id='nodes-2'>"
    "<nvpair id='nodes-2-standby' name='standby' value='on'/></instance_attributes></node>"
    "<node id='3' uname='n3'/><node id='4' uname='n4'/><node id='5' uname='n5'/></nodes>";

static const char CIB_RESOURCES[] =
    "<resources>"
    "<primitive id='vm1' class='ocf' provider='vmferry' type='VirtualMachine'>"
    "<instance_attributes id='odd-set'><nvpair id='odd-pair' name='definition' "
    "value='{&quot;name&quot;:&quot;a&amp;b &lt;c&gt;&quot;}'/></instance_attributes>"
    "<meta_attributes id='vm1-m'><nvpair id='vm1-m-role' name='target-role' value='Stopped'/>"
    "<nvpair id='vm1-m-epoch' name='vmferry-epoch' value='17'/>"
    "<nvpair id='vm1-m-managed' name='is-managed' value='false'/></meta_attributes></primitive>"
    "<group id='g'><primitive id='vm2' class='ocf' provider='vmferry' type='VirtualMachine'/>"
    "<primitive id='dummy' class='ocf' provider='pacemaker' type='Dummy'/></group>"
    "</resources>";

static const char CIB_CONSTRAINTS[] =
    "<constraints>"
    "<rsc_location id='vmferry-move-vm1' rsc='vm1'>"
    "<rule id='vmferry-move-vm1-by-n-by-1' score='INFINITY' boolean-op='and'>"
    "<expression id='e' attribute='#uname' operation='eq' value='n2'/></rule></rsc_location>"
    "<rsc_location id='other' rsc='vm2' node='n1' score='5'/>"
    "</constraints></configuration>";

static const char CIB_STATUS[] =
    "<status>"
    "<node_state id='1' uname='n1' in_ccm='true' crmd='online' join='member' expected='member'>"
    "<transient_attributes id='1'><instance_attributes id='status-1'>"
    "<nvpair id='status-1-m' name='maintenance' value='true'/></instance_attributes>"
    "</transient_attributes><lrm id='1'><lrm_resources>"
    "<lrm_resource id='vm1' class='ocf' provider='vmferry' type='VirtualMachine'>"
    "<lrm_rsc_op id='vm1_last_0' operation='migrate_to' rc-code='1' op-status='0'/>"
    "<lrm_rsc_op id='vm1_m' operation='monitor' rc-code='7' op-status='0'/></lrm_resource>"
    "<lrm_resource id='vm4' class='ocf' provider='vmferry' type='VirtualMachine'>"
    "<lrm_rsc_op id='vm4_m' operation='monitor' rc-code='0' op-status='0'/></lrm_resource>"
    "<lrm_resource id='vm2' class='ocf' provider='vmferry' type='VirtualMachine'>"
    "<lrm_rsc_op id='vm2_last_0' operation='migrate_to' rc-code='193' op-status='-1'/>"
    "<lrm_rsc_op id='vm2_m' operation='migrate_to' rc-code='0' op-status='0'/></lrm_resource>"
    "</lrm_resources></lrm></node_state>"
    "<node_state id='2' uname='n2' in_ccm='1732352400' crmd='1732352401' join='member' "
    "expected='member'/>"
    "<node_state id='3' uname='n3' in_ccm='false' crmd='offline' join='down' expected='member'/>"
    "<node_state id='4' uname='n4' in_ccm='0' crmd='0' join='down' expected='down'/>"
    "</status></cib>";

static xmlDoc *parse(const char *text)
{
    xmlDoc *doc = xmlReadMemory(text, (int)strlen(text), NULL, NULL, XML_PARSE_NONET);

    g_assert_nonnull(doc);
    return doc;
}

static xmlDoc *sample(void)
{
    g_autofree char *text = g_strconcat(CIB_HEAD, CIB_RESOURCES, CIB_CONSTRAINTS, CIB_STATUS, NULL);

    return parse(text);
}

static CibSnapshot *sample_snapshot(void)
{
    g_autoptr(xmlDoc) doc = sample();
    g_autoptr(GError) error = NULL;
    CibSnapshot *snapshot = cib_snapshot_parse(xmlDocGetRootElement(doc), &error);

    g_assert_no_error(error);
    return snapshot;
}

static void assert_json(const json_t *value, const char *expected)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

    g_assert_cmpstr(text, ==, expected);
    free(text);
}

static void test_resources(void)
{
    g_autoptr(CibSnapshot) snapshot = sample_snapshot();

    assert_json(snapshot->resources,
                "[{\"definition\":\"{\\\"name\\\":\\\"a&b <c>\\\"}\",\"managed\":false,"
                "\"name\":\"vm1\",\"target_role\":\"Stopped\"},"
                "{\"definition\":\"\",\"managed\":true,\"name\":\"vm2\","
                "\"target_role\":\"Started\"}]");
    assert_json(snapshot->preferences, "[{\"name\":\"vm1\",\"node\":\"n2\",\"owner\":\"n-by-1\"}]");
    assert_json(snapshot->failed_moves, "{\"vm1\":[\"n1\"]}");
    assert_json(snapshot->found, "{\"vm4\":[\"n1\"]}");
}

static void assert_node(const CibSnapshot *snapshot, size_t index, const char *name,
                        const char *flags)
{
    static const char *const keys[] = {"online", "standby", "maintenance", "dc", "pending_fence"};
    const json_t *node = json_array_get(snapshot->nodes, index);
    g_autoptr(GString) seen = g_string_new(NULL);

    g_assert_cmpstr(json_string_value(json_object_get(node, "name")), ==, name);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        if (json_is_true(json_object_get(node, keys[i])))
            g_string_append_printf(seen, "%s ", keys[i]);
    g_assert_cmpstr(seen->str, ==, flags);
}

static void test_nodes(void)
{
    g_autoptr(CibSnapshot) snapshot = sample_snapshot();

    g_assert_cmpuint(json_array_size(snapshot->nodes), ==, 5);
    assert_node(snapshot, 0, "n1", "online maintenance ");
    assert_node(snapshot, 1, "n2", "online standby dc ");
    assert_node(snapshot, 2, "n3", "pending_fence ");
    assert_node(snapshot, 3, "n4", "");
    assert_node(snapshot, 4, "n5", "pending_fence ");
    assert_json(snapshot->cluster, "{\"cluster_name\":\"lab\",\"dc\":\"n2\",\"have_quorum\":true,"
                                   "\"stonith_enabled\":true,\"version\":\"2.1.5\"}");
}

static void test_not_a_cib(void)
{
    g_autoptr(xmlDoc) other = parse("<resources/>");
    g_autoptr(xmlDoc) empty = parse("<cib/>");

    for (int i = 0; i < 3; i++) {
        g_autoptr(GError) error = NULL;
        const xmlNode *root = i == 0 ? NULL : xmlDocGetRootElement(i == 1 ? other : empty);

        g_assert_null(cib_snapshot_parse(root, &error));
        g_assert_error(error, AGENT_ERROR, AGENT_ERROR_FAILED);
    }
}

static char *dump(xmlDoc *doc)
{
    xmlBuffer *buffer = xmlBufferCreate();
    char *text;

    xmlNodeDump(buffer, doc, xmlDocGetRootElement(doc), 0, 0);
    text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

static void assert_xml(xmlDoc *doc, const char *expected)
{
    g_autofree char *text = dump(doc);

    g_assert_cmpstr(text, ==, expected);
}

// Updates go by ids: into the sets that are there, else into those Pacemaker's tools would make.
static void test_updates(void)
{
    g_autoptr(CibSnapshot) snapshot = sample_snapshot();
    g_autoptr(GError) error = NULL;
    g_autoptr(xmlDoc) define = cib_xml_set_definition(snapshot, "vm1", "{}", &error);
    g_autoptr(xmlDoc) start = cib_xml_set_role(snapshot, "vm1", true, &error);
    g_autoptr(xmlDoc) stop = cib_xml_set_role(snapshot, "vm2", false, &error);
    g_autoptr(xmlDoc) standby = cib_xml_set_standby(snapshot, "n1", true, &error);
    g_autoptr(xmlDoc) back = cib_xml_set_standby(snapshot, "n2", false, &error);

    g_autoptr(xmlDoc) first = cib_xml_set_epoch(snapshot, "vm2", 1, &error);
    g_autoptr(xmlDoc) next = cib_xml_set_epoch(snapshot, "vm1", 18, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(cib_snapshot_epoch(snapshot, "vm1"), ==, 17);
    g_assert_cmpuint(cib_snapshot_epoch(snapshot, "vm2"), ==, 0);
    assert_xml(first, "<primitive id=\"vm2\"><meta_attributes id=\"vm2-meta_attributes\">"
                      "<nvpair id=\"vm2-meta_attributes-vmferry-epoch\" name=\"vmferry-epoch\" "
                      "value=\"1\"/></meta_attributes></primitive>");
    assert_xml(next, "<primitive id=\"vm1\"><meta_attributes id=\"vm1-m\">"
                     "<nvpair id=\"vm1-m-epoch\" name=\"vmferry-epoch\" value=\"18\"/>"
                     "</meta_attributes></primitive>");
    assert_xml(define, "<primitive id=\"vm1\"><instance_attributes id=\"odd-set\">"
                       "<nvpair id=\"odd-pair\" name=\"definition\" value=\"{}\"/>"
                       "</instance_attributes></primitive>");
    assert_xml(start, "<primitive id=\"vm1\"><meta_attributes id=\"vm1-m\">"
                      "<nvpair id=\"vm1-m-role\" name=\"target-role\" value=\"Started\"/>"
                      "</meta_attributes></primitive>");
    assert_xml(stop, "<primitive id=\"vm2\"><meta_attributes id=\"vm2-meta_attributes\">"
                     "<nvpair id=\"vm2-meta_attributes-target-role\" name=\"target-role\" "
                     "value=\"Stopped\"/></meta_attributes></primitive>");
    assert_xml(standby, "<node id=\"1\"><instance_attributes id=\"nodes-1\">"
                        "<nvpair id=\"nodes-1-standby\" name=\"standby\" value=\"on\"/>"
                        "</instance_attributes></node>");
    assert_xml(back, "<node id=\"2\"><instance_attributes id=\"nodes-2\">"
                     "<nvpair id=\"nodes-2-standby\" name=\"standby\" value=\"off\"/>"
                     "</instance_attributes></node>");
}

static void test_unknown_names(void)
{
    g_autoptr(CibSnapshot) snapshot = sample_snapshot();
    g_autoptr(GError) a = NULL;
    g_autoptr(GError) b = NULL;
    g_autoptr(GError) c = NULL;

    g_assert_null(cib_xml_set_definition(snapshot, "dummy", "{}", &a));
    g_assert_error(a, AGENT_ERROR, AGENT_ERROR_NOT_FOUND);
    g_assert_null(cib_xml_set_role(snapshot, "vm9", true, &b));
    g_assert_error(b, AGENT_ERROR, AGENT_ERROR_NOT_FOUND);
    g_assert_null(cib_xml_set_standby(snapshot, "n9", true, &c));
    g_assert_error(c, AGENT_ERROR, AGENT_ERROR_NOT_FOUND);
}

static void test_names(void)
{
    g_autofree char *longest = g_strnfill(64, 'a');
    g_autofree char *longer = g_strnfill(65, 'a');

    g_assert_true(cib_xml_name_valid("vm-1.example_x"));
    g_assert_true(cib_xml_name_valid("_"));
    g_assert_true(cib_xml_name_valid(longest));
    g_assert_false(cib_xml_name_valid(longer));
    g_assert_false(cib_xml_name_valid(""));
    g_assert_false(cib_xml_name_valid("1vm"));
    g_assert_false(cib_xml_name_valid("vm'1"));
    g_assert_false(cib_xml_name_valid("vm 1"));
    g_assert_false(cib_xml_name_valid("vm\xc3\xa4"));
}

static char *stored_definition(const char *definition)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(xmlDoc) doc = cib_xml_primitive("vm3", definition, true, true, &error);
    xmlNode *pair;

    g_assert_no_error(error);
    pair = xmlDocGetRootElement(doc)->children->children;
    return (char *)xmlGetProp(pair, (const xmlChar *)"value");
}

// What Pacemaker's transport would spoil is written in another way that means the same.
static void test_plain_json(void)
{
    const char *definition = "{\n\t\"title\": \"\xc3\xa4\xf0\x9f\x9a\xa2\x7f <&'\\n\"\r\n}";
    char *stored = stored_definition(definition);
    json_t *before = json_loads(definition, 0, NULL);
    json_t *after = json_loads(stored, 0, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_cmpstr(stored, ==, "{  \"title\": \"\\u00e4\\ud83d\\udea2\\u007f <&'\\n\"  }");
    g_assert_nonnull(before);
    g_assert_true(json_equal(before, after));
    g_assert_null(cib_xml_primitive("vm3", "{\"a\":\"\xff\"}", true, true, &error));
    g_assert_error(error, AGENT_ERROR, AGENT_ERROR_INVALID);
    json_decref(before);
    json_decref(after);
    xmlFree(stored);
}

static void verify(const char *cib)
{
    g_autofree char *dir = g_dir_make_tmp("vmferry-cib-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "cib.xml", NULL);
    const char *const argv[] = {"xmllint", "--noout", "--relaxng", SCHEMA, path, NULL};
    g_autofree char *errors = NULL;
    int status;

    g_assert_true(g_file_set_contents(path, cib, -1, NULL));
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL,
                               G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL,
                               &errors, &status, NULL));
    if (status != 0)
        g_printerr("%s", errors);
    g_assert_cmpint(status, ==, 0);
    g_remove(path);
    g_rmdir(dir);
}

static void test_schema(void)
{
    g_autofree char *xmllint = g_find_program_in_path("xmllint");
    g_autoptr(xmlDoc) primitive = cib_xml_primitive("vm3", "{\"a\":1}", true, true, NULL);
    g_autoptr(xmlDoc) preference = cib_xml_preference("vm3", "n2", "n1.example", 1732352400);
    g_autofree char *primitive_text = dump(primitive);
    g_autofree char *preference_text = dump(preference);
    g_autofree char *cib =
        g_strconcat(CIB_HEAD, "<resources>", primitive_text, "</resources><constraints>",
                    preference_text, "</constraints></configuration>", CIB_STATUS, NULL);
    g_autoptr(xmlDoc) doc = parse(cib);
    g_autoptr(CibSnapshot) snapshot = cib_snapshot_parse(xmlDocGetRootElement(doc), NULL);

    assert_json(snapshot->resources, "[{\"definition\":\"{\\\"a\\\":1}\",\"managed\":true,"
                                     "\"name\":\"vm3\",\"target_role\":\"Started\"}]");
    assert_json(snapshot->preferences,
                "[{\"name\":\"vm3\",\"node\":\"n2\",\"owner\":\"n1.example\"}]");
    g_assert_nonnull(strstr(preference_text, "end=\"2024-11-23 09:00:00Z\""));
    if (!xmllint || !g_file_test(SCHEMA, G_FILE_TEST_EXISTS)) {
        g_test_skip("needs xmllint and " SCHEMA);
        return;
    }
    verify(cib);
}

// It adds to the resource, and Pacemaker's schema knows it.
static void test_hold(void)
{
    g_autofree char *xmllint = g_find_program_in_path("xmllint");
    g_autoptr(xmlDoc) hold = cib_xml_hold("vm3", 1732352400);
    g_autofree char *text = dump(hold);
    const char *begin = strstr(text, "<meta_attributes");
    g_autofree char *set = g_strndup(begin, (gsize)(strstr(begin, "</primitive>") - begin));
    g_autofree char *cib = g_strconcat(
        CIB_HEAD, "<resources><primitive id='vm3' class='ocf' provider='vmferry' ",
        "type='VirtualMachine'><meta_attributes id='m'><nvpair id='r' name='target-role' ",
        "value='Started'/></meta_attributes>", set,
        "</primitive></resources><constraints/></configuration>", CIB_STATUS, NULL);
    g_autoptr(xmlDoc) doc = parse(cib);
    g_autoptr(CibSnapshot) snapshot = cib_snapshot_parse(xmlDocGetRootElement(doc), NULL);
    g_autoptr(xmlDoc) role = cib_xml_set_role(snapshot, "vm3", false, NULL);
    g_autofree char *role_text = dump(role);

    g_assert_true(g_str_has_prefix(text, "<primitive id=\"vm3\"><meta_attributes"));
    g_assert_nonnull(strstr(text, "end=\"2024-11-23 09:00:00Z\""));
    assert_json(snapshot->resources, "[{\"definition\":\"\",\"managed\":false,"
                                     "\"name\":\"vm3\",\"target_role\":\"Started\"}]");
    g_assert_nonnull(strstr(role_text, "id=\"m\"")); // an update goes to the lasting set
    if (!xmllint || !g_file_test(SCHEMA, G_FILE_TEST_EXISTS)) {
        g_test_skip("needs xmllint and " SCHEMA);
        return;
    }
    verify(cib);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cib/resources", test_resources);
    g_test_add_func("/cib/nodes", test_nodes);
    g_test_add_func("/cib/not-a-cib", test_not_a_cib);
    g_test_add_func("/cib/updates", test_updates);
    g_test_add_func("/cib/unknown-names", test_unknown_names);
    g_test_add_func("/cib/names", test_names);
    g_test_add_func("/cib/plain-json", test_plain_json);
    g_test_add_func("/cib/schema", test_schema);
    g_test_add_func("/cib/hold", test_hold);
    return g_test_run();
}
