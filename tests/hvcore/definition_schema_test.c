// SPDX-License-Identifier: GPL-2.0-or-later
// The published schema and the parser know the same keys, and the same ones are required.
#include "hvcore/definition_keys.h"
#include "tests/hvcore/support.h"

#include <string.h>

static json_t *schema;

static json_t *object_schema(const char *object)
{
    json_t *properties = json_object_get(schema, "properties");
    json_t *value = *object ? json_object_get(properties, object) : schema;
    json_t *items = json_object_get(value, "items");
    return items ? items : value;
}

static bool is_required(const char *object, const char *key)
{
    json_t *list = json_object_get(object_schema(object), "required"), *item;
    size_t i;
    json_array_foreach(list, i, item) if (strcmp(json_string_value(item), key) == 0) return true;
    return false;
}

static void test_parser_to_schema(void)
{
    for (size_t i = 0; i < hv_definition_n_keys; i++) {
        const HvDefinitionKey *entry = &hv_definition_keys[i];
        json_t *properties = json_object_get(object_schema(entry->object), "properties");
        json_t *property = json_object_get(properties, entry->key);
        g_assert_nonnull(property);
        g_assert_nonnull(json_object_get(property, "description"));
        g_assert_true(is_required(entry->object, entry->key) == entry->required);
    }
}

static void test_schema_to_parser(void)
{
    static const char *const objects[] = {"",     "boot",      "disks",     "nics",
                                          "resources", "storage", "state_area"};
    for (size_t i = 0; i < G_N_ELEMENTS(objects); i++) {
        json_t *object = object_schema(objects[i]), *property;
        const char *key;
        g_assert_true(json_is_false(json_object_get(object, "additionalProperties")));
        json_object_foreach(json_object_get(object, "properties"), key, property)
            g_assert_nonnull(hv_definition_key_find(objects[i], key));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    json_error_t error;
    schema = json_load_file(TEST_SOURCE_DIR "/config/vm-definition.schema.json",
                            JSON_REJECT_DUPLICATES, &error);
    if (!schema)
        g_error("%s:%d: %s", error.source, error.line, error.text);
    g_test_add_func("/schema/parser-to-schema", test_parser_to_schema);
    g_test_add_func("/schema/schema-to-parser", test_schema_to_parser);
    int result = g_test_run();
    json_decref(schema);
    return result;
}
