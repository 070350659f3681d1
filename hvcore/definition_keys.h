// SPDX-License-Identifier: GPL-2.0-or-later
// The keys of a VM definition, object by object: what the parser accepts and what the published
// schema must list. Internal to hvcore and its tests.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *object; // "" is the top level, else "boot", "disks", "nics", "resources", "storage", "state_area"
    const char *key;
    bool required;
    bool live; // top level only: a change applies to a running guest
} HvDefinitionKey;

extern const HvDefinitionKey hv_definition_keys[];
extern const size_t hv_definition_n_keys;

// NULL where OBJECT has no such key.
const HvDefinitionKey *hv_definition_key_find(const char *object, const char *key);
