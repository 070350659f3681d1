// SPDX-License-Identifier: GPL-2.0-or-later
// What `vmferry doctor` looks at in the CIB's configuration. Pure, as agent/cib_xml.h.
#pragma once

#include <jansson.h>
#include <libxml/tree.h>

// New reference:
// {"properties": {NAME: VALUE}, "op_defaults": {...}, "rsc_defaults": {...}, "nodes": [NAME],
//  "fencing": [{"id", "agent", "params": {...}, "meta": {...}}],
//  "topology": [{"target" (null: by pattern or attribute), "index", "devices": [ID]}],
//  "vms": [{"name", "definition", "meta": {...}, "ops": [{"name", "interval", "timeout",
//  "on-fail"}]}]}
// Values are as they stand there; CONFIGURATION may be NULL. What is only for a time (a set with a
// rule) is left out.
json_t *cib_facts(const xmlNode *configuration);
