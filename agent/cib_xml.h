// SPDX-License-Identifier: GPL-2.0-or-later
// The part of Pacemaker's CIB that vmferry reads and writes, as XML. Pure: libxml2 only, no
// connection. Format: "Pacemaker Explained" and Pacemaker's RNG schemas.
#pragma once

#include "agent/error.h"
#include <jansson.h>
#include <libxml/tree.h>
#include <stdbool.h>
#include <stdint.h>

// What vmferry reads from one state of the CIB.
typedef struct {
    json_t *resources;   // as agent_pacemaker_resources
    json_t *nodes;       // as agent_pacemaker_nodes
    json_t *cluster;     // as agent_pacemaker_cluster
    json_t *preferences; // as agent_pacemaker_preferences
    // As agent_pacemaker_move_failed and _found look them up: {"NAME": ["NODE", ...]}
    json_t *failed_moves, *found;
    json_t *facts; // as cib_facts
    // The XML ids of sets and values that an update has to name; private to cib_xml.c.
    GHashTable *resource_ids;
    GHashTable *node_ids;
} CibSnapshot;

// Borrows CIB, the <cib> element. AGENT_ERROR_FAILED where it is something else.
CibSnapshot *cib_snapshot_parse(const xmlNode *cib, GError **error);
void cib_snapshot_free(CibSnapshot *snapshot);

// Whether the name can be an XML id and stand in an XPath: a letter or underscore, then letters,
// digits, dot, dash, underscore; at most 64.
bool cib_xml_name_valid(const char *name);

// For section "resources" by create: the new primitive. DEFINITION is JSON; it is stored in ASCII
// without line ends, its meaning unchanged. AGENT_ERROR_INVALID where it is not UTF-8.
xmlDoc *cib_xml_primitive(const char *name, const char *definition, bool started, bool movable,
                          GError **error);
// For section "resources" by modify. AGENT_ERROR_NOT_FOUND where the snapshot lacks the resource.
xmlDoc *cib_xml_set_definition(const CibSnapshot *snapshot, const char *name,
                               const char *definition, GError **error);
xmlDoc *cib_xml_set_role(const CibSnapshot *snapshot, const char *name, bool started,
                         GError **error);
// Likewise: the newest epoch of the VM's run record that the cluster has seen, a meta attribute
// that Pacemaker does not know and leaves alone.
xmlDoc *cib_xml_set_epoch(const CibSnapshot *snapshot, const char *name, uint64_t epoch,
                          GError **error);
// That epoch; 0 where there is none.
uint64_t cib_snapshot_epoch(const CibSnapshot *snapshot, const char *name);
// For section "nodes" by modify: the node attribute that crm_standby sets.
xmlDoc *cib_xml_set_standby(const CibSnapshot *snapshot, const char *node, bool standby,
                            GError **error);
// For section "constraints" by create: NAME has to run on NODE until UNTIL (seconds of UNIX time).
xmlDoc *cib_xml_preference(const char *name, const char *node, const char *owner, gint64 until);
// For section "resources" by modify: Pacemaker leaves NAME alone until UNTIL.
xmlDoc *cib_xml_hold(const char *name, gint64 until);

// XPaths of what is removed; free with g_free. NAME has to be valid.
char *cib_xpath_preference(const char *name);
char *cib_xpath_hold(const char *name);
char *cib_xpath_constraints(const char *name);
char *cib_xpath_primitive(const char *name);
char *cib_xpath_history(const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CibSnapshot, cib_snapshot_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)
