// SPDX-License-Identifier: GPL-2.0-or-later
// Pacemaker's CIB: whatever XML comes, what is read from it is whole, and updates can be made of
// it.
#include "tests/fuzz/fuzz.h"

#include "agent/cib_xml.h"

#include <libxml/parser.h>
#include <string.h>

static void no_message(void *context, const char *format, ...)
{
    (void)context, (void)format;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    xmlInitParser();
    xmlSetGenericErrorFunc(NULL, no_message);
    return 0;
}

static void check_strings(json_t *object, const char *const *keys)
{
    for (; *keys != NULL; keys++)
        FUZZ_REQUIRE(json_is_string(json_object_get(object, *keys)), "%s is missing", *keys);
}

static void check_update(xmlDoc *doc, const GError *error)
{
    g_autoptr(xmlDoc) made = doc;
    fuzz_check_error(made != NULL, error);
}

static void update_resource(const CibSnapshot *snapshot, const char *name)
{
    g_autoptr(GError) role = NULL, definition = NULL;
    check_update(cib_xml_set_role(snapshot, name, true, &role), role);
    check_update(cib_xml_set_definition(snapshot, name, "{}", &definition), definition);
}

static void check_resources(const CibSnapshot *snapshot)
{
    static const char *const keys[] = {"name", "definition", "target_role", NULL};
    size_t index;
    json_t *resource;
    FUZZ_REQUIRE(json_array_size(snapshot->resources) >= g_hash_table_size(snapshot->resource_ids),
                 "a resource is lost");
    json_array_foreach(snapshot->resources, index, resource)
    {
        check_strings(resource, keys);
        update_resource(snapshot, json_string_value(json_object_get(resource, "name")));
    }
}

static void check_nodes(const CibSnapshot *snapshot)
{
    static const char *const keys[] = {"name", NULL};
    size_t index;
    json_t *node;
    FUZZ_REQUIRE(json_array_size(snapshot->nodes) >= g_hash_table_size(snapshot->node_ids),
                 "a node is lost");
    json_array_foreach(snapshot->nodes, index, node)
    {
        g_autoptr(GError) error = NULL;
        check_strings(node, keys);
        const char *name = json_string_value(json_object_get(node, "name"));
        check_update(cib_xml_set_standby(snapshot, name, true, &error), error);
    }
}

static void check_rest(const CibSnapshot *snapshot)
{
    static const char *const cluster[] = {"dc", "cluster_name", "version", NULL};
    static const char *const preference[] = {"name", "node", "owner", NULL};
    size_t index;
    json_t *item;
    check_strings(snapshot->cluster, cluster);
    json_array_foreach(snapshot->preferences, index, item) check_strings(item, preference);
    const char *name;
    json_object_foreach(snapshot->failed_moves, name, item)
        FUZZ_REQUIRE(json_array_size(item) > 0, "%s failed nowhere", name);
    json_object_foreach(snapshot->found, name, item)
        FUZZ_REQUIRE(json_array_size(item) > 0, "%s was found nowhere", name);
}

static void read_cib(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(xmlDoc) doc =
        xmlReadMemory((const char *)data, (int)size, NULL, NULL,
                      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (doc == NULL)
        return;
    g_autoptr(CibSnapshot) snapshot = cib_snapshot_parse(xmlDocGetRootElement(doc), &error);
    fuzz_check_error(snapshot != NULL, error);
    if (snapshot == NULL)
        return;
    check_resources(snapshot);
    check_nodes(snapshot);
    check_rest(snapshot);
}

// A definition comes back from the CIB with its meaning.
static void write_definition(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(xmlDoc) doc = cib_xml_primitive("web", text, true, true, &error);
    fuzz_check_error(doc != NULL, error);
    json_t *before = doc != NULL ? json_loads(text, 0, NULL) : NULL;
    if (before == NULL)
        return;
    xmlNode *set = xmlDocGetRootElement(doc)->children;
    xmlChar *kept = xmlGetProp(set->children, (const xmlChar *)"value");
    json_t *after = json_loads((const char *)kept, 0, NULL);
    FUZZ_REQUIRE(json_equal(before, after), "kept as %s", (const char *)kept);
    json_decref(before);
    json_decref(after);
    xmlFree(kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = {data, size};
    g_autofree char *text = fuzz_rest(&input);
    read_cib(data, size);
    write_definition(text);
    xmlResetLastError();
    return 0;
}
