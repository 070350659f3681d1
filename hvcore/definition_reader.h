// SPDX-License-Identifier: GPL-2.0-or-later
// Reads the values of a definition's JSON objects. A reader knows the path of the object that it
// reads, so that each message can name the key. After the first error all reads do nothing.
// Internal to hvcore.
#pragma once

#include "hvcore/definition_private.h"

enum { HV_TEXT_LIMIT = 1024 }; // bytes of a value that has no other limit

typedef struct {
    json_t *object;     // borrowed; NULL where the definition has no such object
    const char *kind;   // as in hv_definition_keys
    const char *prefix; // "" or "disks[1]."
    GError **error;
    bool failed;
} HvReader;

typedef void (*HvReadItem)(HvReader *reader, HvDefinition *definition, size_t index);
typedef void (*HvReadObject)(HvReader *reader, HvDefinition *definition);

void hv_reader_fail(HvReader *reader, const char *key, const char *format, ...) G_GNUC_PRINTF(3, 4);
// No unknown key, and every required one.
void hv_reader_check_keys(HvReader *reader);
json_t *hv_reader_get(HvReader *reader, const char *key); // borrowed; NULL where there is none
// NULL where the key is absent or after an error. Borrowed.
const char *hv_reader_string(HvReader *reader, const char *key, size_t max);
uint64_t hv_reader_number(HvReader *reader, const char *key, uint64_t fallback, uint64_t min,
                          uint64_t max, const char *unit);
bool hv_reader_bool(HvReader *reader, const char *key, bool fallback);
// The index in the NULL-terminated WORDS, or FALLBACK.
unsigned hv_reader_word(HvReader *reader, const char *key, const char *const *words,
                        unsigned fallback);
char *hv_reader_path(HvReader *reader, const char *key); // absolute; the caller frees it
// ITEMS points to the array's pointer, whose items of ITEM_SIZE it allocates zeroed; COUNT is
// raised before each item is read, so that a half-read one is freed too.
void hv_reader_array(HvReader *top, const char *key, size_t max, size_t item_size,
                     HvDefinition *definition, void *items, size_t *count, HvReadItem read);
void hv_reader_object(HvReader *top, const char *key, HvDefinition *definition, HvReadObject read);
// Whether TEXT holds characters of SET only.
bool hv_reader_only(const char *text, const char *set);
