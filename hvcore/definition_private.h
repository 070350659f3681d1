// SPDX-License-Identifier: GPL-2.0-or-later
// Internal to hvcore: a definition as a jansson object.
#pragma once

#include "hvcore/definition.h"
#include <jansson.h>

static inline void hv_json_decref(json_t *json)
{
    json_decref(json);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, hv_json_decref)

enum { HV_MAX_DISKS = 16, HV_MAX_NICS = 8, HV_MAX_STORAGE = 16 };

// The same as hv_definition_parse, of parsed JSON (borrowed).
HvDefinition *hv_definition_from_json(json_t *root, GError **error);
// New reference, defaults filled in.
json_t *hv_definition_as_json(const HvDefinition *definition);
// "52:54:00:xx:xx:xx" from the VM's uuid and the NIC's index; the caller frees it.
char *hv_definition_derived_mac(const char *uuid, size_t index);
