// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/definition_reader.h"

#include "hvcore/definition_keys.h"
#include <inttypes.h>
#include <string.h>

void hv_reader_fail(HvReader *reader, const char *key, const char *format, ...)
{
    if (reader->failed)
        return;
    reader->failed = true;
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error(reader->error, HV_ERROR, HV_ERROR_DEFINITION, "%s%s: %s", reader->prefix, key,
                text);
}

void hv_reader_check_keys(HvReader *reader)
{
    const char *key;
    json_t *value;
    json_object_foreach (reader->object, key, value)
        if (!hv_definition_key_find(reader->kind, key))
            hv_reader_fail(reader, key, "unknown key; see the schema of VM definitions");
    for (size_t i = 0; i < hv_definition_n_keys; i++) {
        const HvDefinitionKey *entry = &hv_definition_keys[i];
        if (entry->required && strcmp(entry->object, reader->kind) == 0 &&
            !json_object_get(reader->object, entry->key))
            hv_reader_fail(reader, entry->key, "missing");
    }
}

json_t *hv_reader_get(HvReader *reader, const char *key)
{
    return reader->failed ? NULL : json_object_get(reader->object, key);
}

const char *hv_reader_string(HvReader *reader, const char *key, size_t max)
{
    json_t *value = hv_reader_get(reader, key);
    if (!value)
        return NULL;
    const char *text = json_string_value(value);
    if (!text)
        return hv_reader_fail(reader, key, "must be a string"), NULL;
    if (!*text)
        return hv_reader_fail(reader, key, "must not be empty"), NULL;
    if (strlen(text) > max)
        return hv_reader_fail(reader, key, "longer than %zu bytes", max), NULL;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return hv_reader_fail(reader, key, "holds a control character"), NULL;
    return text;
}

uint64_t hv_reader_number(HvReader *reader, const char *key, uint64_t fallback, uint64_t min,
                          uint64_t max, const char *unit)
{
    json_t *value = hv_reader_get(reader, key);
    if (!value)
        return fallback;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value))
        hv_reader_fail(reader, key, "must be a whole number (%s)", unit);
    else if (number < 0 || (uint64_t)number < min || (uint64_t)number > max)
        hv_reader_fail(reader, key,
                       "%" JSON_INTEGER_FORMAT " is not between %" PRIu64 " and %" PRIu64 " %s",
                       number, min, max, unit);
    else
        return (uint64_t)number;
    return fallback;
}

bool hv_reader_bool(HvReader *reader, const char *key, bool fallback)
{
    json_t *value = hv_reader_get(reader, key);
    if (value && !json_is_boolean(value))
        hv_reader_fail(reader, key, "must be true or false");
    return value && !reader->failed ? json_is_true(value) : fallback;
}

unsigned hv_reader_word(HvReader *reader, const char *key, const char *const *words,
                        unsigned fallback)
{
    const char *text = hv_reader_string(reader, key, HV_TEXT_LIMIT);
    if (!text)
        return fallback;
    for (unsigned i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    g_autofree char *choices = g_strjoinv(", ", (char **)words);
    hv_reader_fail(reader, key, "\"%s\" is not one of: %s", text, choices);
    return fallback;
}

char *hv_reader_path(HvReader *reader, const char *key)
{
    const char *path = hv_reader_string(reader, key, HV_TEXT_LIMIT);
    if (path && path[0] != '/')
        hv_reader_fail(reader, key, "\"%s\" is not an absolute path", path);
    return reader->failed ? NULL : g_strdup(path);
}

static void read_item(HvReader *parent, HvDefinition *definition, json_t *array, size_t index,
                      HvReadItem read)
{
    g_autofree char *prefix = g_strdup_printf("%s[%zu].", parent->kind, index);
    HvReader item = {json_array_get(array, index), parent->kind, prefix, parent->error, false};
    if (!json_is_object(item.object)) {
        item.prefix = "";
        prefix[strlen(prefix) - 1] = 0;
        hv_reader_fail(&item, prefix, "must be an object");
    } else {
        hv_reader_check_keys(&item);
        read(&item, definition, index);
    }
    parent->failed = item.failed;
}

void hv_reader_array(HvReader *top, const char *key, size_t max, size_t item_size,
                     HvDefinition *definition, void *items, size_t *count, HvReadItem read)
{
    json_t *array = hv_reader_get(top, key);
    if (!array)
        return;
    if (!json_is_array(array))
        return hv_reader_fail(top, key, "must be an array");
    if (json_array_size(array) > max)
        return hv_reader_fail(top, key, "%zu entries; %zu at most", json_array_size(array), max);
    *(void **)items = g_malloc0_n(json_array_size(array) + 1, item_size);
    HvReader reader = {NULL, key, "", top->error, top->failed};
    for (size_t i = 0; i < json_array_size(array) && !reader.failed; i++) {
        (*count)++;
        read_item(&reader, definition, array, i, read);
    }
    top->failed = reader.failed;
}

void hv_reader_object(HvReader *top, const char *key, HvDefinition *definition, HvReadObject read)
{
    json_t *object = hv_reader_get(top, key);
    if (!object)
        return;
    if (!json_is_object(object))
        return hv_reader_fail(top, key, "must be an object");
    g_autofree char *prefix = g_strconcat(key, ".", NULL);
    HvReader reader = {object, key, prefix, top->error, false};
    hv_reader_check_keys(&reader);
    read(&reader, definition);
    top->failed = reader.failed;
}

bool hv_reader_only(const char *text, const char *set)
{
    return strspn(text, set) == strlen(text);
}
