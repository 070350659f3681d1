// SPDX-License-Identifier: GPL-2.0-or-later
// Steps through the CIB's tree. Internal to agent/cib_*.c; what is returned is borrowed from the
// tree.
#pragma once

#include <libxml/tree.h>
#include <stdbool.h>
#include <string.h>

static inline bool cib_is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

// Unlike xmlGetProp's it is not a copy; CIB attributes have no entities or DTD defaults.
static inline const char *cib_attribute(const xmlNode *node, const char *name)
{
    const xmlAttr *found = node ? xmlHasProp((xmlNode *)node, (const xmlChar *)name) : NULL;

    return found && found->children ? (const char *)found->children->content : NULL;
}

static inline const xmlNode *cib_child(const xmlNode *parent, const char *name)
{
    for (const xmlNode *node = parent ? parent->children : NULL; node; node = node->next)
        if (cib_is(node, name))
            return node;
    return NULL;
}

static inline const xmlNode *cib_next(const xmlNode *node, const char *name)
{
    while ((node = node->next))
        if (cib_is(node, name))
            return node;
    return NULL;
}
