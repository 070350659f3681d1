// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/cib_xml.h"
#include "agent/cib_facts.h"
#include "agent/cib_tree.h"
#include <string.h>

#define PREFERENCE_PREFIX "vmferry-move-"
#define OWNER_PREFIX "-by-"
#define HOLD_PREFIX "vmferry-hold-"
#define EPOCH "vmferry-epoch"

// Above any ordinary preference of an admin, so that a VM never moves back by itself; below
// INFINITY, so that an asked-for move, whose score is INFINITY, wins over staying.
#define STICKINESS "10000"
// A QEMU that crashes starts again where its page cache and disks are warm; after the third failure
// within ten minutes the node is taken to be the cause. Pacemaker counts a reported failure twice
// (the executor's result and the controller's own event), one found by the monitor once.
#define MIGRATION_THRESHOLD "6"
#define FAILURE_TIMEOUT "10min"

typedef struct {
    char *definition_set, *definition_pair;
    char *meta_set, *role_pair, *epoch_pair;
    uint64_t epoch;
} ResourceIds;

typedef struct {
    char *id;
    char *set, *standby_pair;
} NodeIds;

static void resource_ids_free(gpointer data)
{
    ResourceIds *ids = data;

    g_free(ids->definition_set);
    g_free(ids->definition_pair);
    g_free(ids->meta_set);
    g_free(ids->role_pair);
    g_free(ids->epoch_pair);
    g_free(ids);
}

static void node_ids_free(gpointer data)
{
    NodeIds *ids = data;

    g_free(ids->id);
    g_free(ids->set);
    g_free(ids->standby_pair);
    g_free(ids);
}

// Reading -----------------------------------------------------------------------------------------

static const char *attribute_or(const xmlNode *node, const char *name, const char *fallback)
{
    const char *value = cib_attribute(node, name);

    return value ? value : fallback;
}

static const xmlNode *nvpair(const xmlNode *set, const char *name)
{
    for (const xmlNode *pair = cib_child(set, "nvpair"); pair; pair = cib_next(pair, "nvpair"))
        if (g_strcmp0(cib_attribute(pair, "name"), name) == 0)
            return pair;
    return NULL;
}

// The pair of that name in the first of PARENT's sets that has one; OUT_SET gets its set, else the
// first set without a rule, which is where an update belongs.
static const xmlNode *find_pair(const xmlNode *parent, const char *set_name, const char *name,
                                const xmlNode **out_set)
{
    const xmlNode *plain = NULL;

    for (const xmlNode *set = cib_child(parent, set_name); set; set = cib_next(set, set_name)) {
        const xmlNode *pair = nvpair(set, name);

        if (pair) {
            if (out_set)
                *out_set = set;
            return pair;
        }
        if (!plain && !cib_child(set, "rule"))
            plain = set;
    }
    if (out_set)
        *out_set = plain;
    return NULL;
}

static const char *find_value(const xmlNode *parent, const char *set_name, const char *name)
{
    return cib_attribute(find_pair(parent, set_name, name, NULL), "value");
}

// As Pacemaker reads booleans (crm_str_to_boolean).
static bool truth(const char *value, bool fallback)
{
    static const char *const yes[] = {"true", "on", "yes", "y", "1"};
    static const char *const no[] = {"false", "off", "no", "n", "0"};

    for (size_t i = 0; value && i < G_N_ELEMENTS(yes); i++) {
        if (g_ascii_strcasecmp(value, yes[i]) == 0)
            return true;
        if (g_ascii_strcasecmp(value, no[i]) == 0)
            return false;
    }
    return fallback;
}

// in_ccm and crmd were "true"/"online"; since 2.1.7 they are the UNIX time of joining, 0 for not.
static bool state_set(const char *value, const char *word)
{
    if (!value)
        return false;
    return g_ascii_strcasecmp(value, word) == 0 || g_ascii_strtoll(value, NULL, 10) > 0;
}

static bool is_virtual_machine(const xmlNode *primitive)
{
    return g_strcmp0(cib_attribute(primitive, "class"), "ocf") == 0 &&
           g_strcmp0(cib_attribute(primitive, "provider"), "vmferry") == 0 &&
           g_strcmp0(cib_attribute(primitive, "type"), "VirtualMachine") == 0;
}

static void parse_resource(CibSnapshot *snapshot, const xmlNode *primitive, bool managed)
{
    const char *name = attribute_or(primitive, "id", "");
    const xmlNode *parameters, *meta;
    const xmlNode *definition =
        find_pair(primitive, "instance_attributes", "definition", &parameters);
    const xmlNode *role = find_pair(primitive, "meta_attributes", "target-role", &meta);
    const xmlNode *epoch = find_pair(primitive, "meta_attributes", EPOCH, NULL);
    bool stopped = g_ascii_strcasecmp(attribute_or(role, "value", "Started"), "Stopped") == 0;
    ResourceIds *ids = g_new0(ResourceIds, 1);

    managed = managed && truth(find_value(primitive, "meta_attributes", "is-managed"), true) &&
              !truth(find_value(primitive, "meta_attributes", "maintenance"), false);
    json_array_append_new(snapshot->resources,
                          json_pack("{s:s, s:s, s:s, s:b}", "name", name, "definition",
                                    attribute_or(definition, "value", ""), "target_role",
                                    stopped ? "Stopped" : "Started", "managed", managed));
    ids->definition_set = g_strdup(cib_attribute(parameters, "id"));
    ids->definition_pair = g_strdup(cib_attribute(definition, "id"));
    ids->meta_set = g_strdup(cib_attribute(meta, "id"));
    ids->role_pair = g_strdup(cib_attribute(role, "id"));
    ids->epoch_pair = g_strdup(cib_attribute(epoch, "id"));
    ids->epoch = g_ascii_strtoull(attribute_or(epoch, "value", "0"), NULL, 10);
    g_hash_table_replace(snapshot->resource_ids, g_strdup(name), ids);
}

// Primitives stand in <resources> or in groups and clones below it.
static void parse_resources(CibSnapshot *snapshot, const xmlNode *parent, bool managed)
{
    for (const xmlNode *node = parent ? parent->children : NULL; node; node = node->next) {
        if (cib_is(node, "primitive") && is_virtual_machine(node))
            parse_resource(snapshot, node, managed);
        else if (cib_is(node, "group") || cib_is(node, "clone") || cib_is(node, "master"))
            parse_resources(snapshot, node, managed);
    }
}

static const xmlNode *find_node_state(const xmlNode *status, const char *id)
{
    for (const xmlNode *state = cib_child(status, "node_state"); state;
         state = cib_next(state, "node_state"))
        if (g_strcmp0(cib_attribute(state, "id"), id) == 0)
            return state;
    return NULL;
}

typedef struct {
    const xmlNode *configuration, *status;
    const char *dc; // the id of the node, NULL for none
    bool maintenance;
    bool stonith;
    bool startup_fencing;
} Cluster;

// A node that was a member, did not sign off and is not one now: what runs there is unknown until
// it is fenced. So it is with a node never seen since the cluster started. A fenced node's state is
// written as expected="down".
static bool fencing_due(const Cluster *cluster, const xmlNode *state, bool online)
{
    if (!cluster->stonith || online)
        return false;
    if (!state)
        return cluster->dc && cluster->startup_fencing;
    return g_strcmp0(cib_attribute(state, "expected"), "member") == 0 &&
           !(state_set(cib_attribute(state, "in_ccm"), "true") &&
             state_set(cib_attribute(state, "crmd"), "online"));
}

static void parse_node(CibSnapshot *snapshot, const Cluster *cluster, const xmlNode *node)
{
    const char *id = attribute_or(node, "id", "");
    const char *name = attribute_or(node, "uname", id);
    const xmlNode *state = find_node_state(cluster->status, id);
    const xmlNode *transient = cib_child(state, "transient_attributes");
    const xmlNode *set;
    const xmlNode *pair = find_pair(node, "instance_attributes", "standby", &set);
    bool online = state && state_set(cib_attribute(state, "in_ccm"), "true") &&
                  state_set(cib_attribute(state, "crmd"), "online") &&
                  g_strcmp0(cib_attribute(state, "join"), "member") == 0;
    bool standby = truth(cib_attribute(pair, "value"), false) ||
                   truth(find_value(transient, "instance_attributes", "standby"), false);
    bool maintenance = cluster->maintenance ||
                       truth(find_value(node, "instance_attributes", "maintenance"), false) ||
                       truth(find_value(transient, "instance_attributes", "maintenance"), false);
    NodeIds *ids = g_new0(NodeIds, 1);

    json_array_append_new(snapshot->nodes,
                          json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "name", name, "online",
                                    online, "standby", standby, "maintenance", maintenance, "dc",
                                    g_strcmp0(cluster->dc, id) == 0, "pending_fence",
                                    fencing_due(cluster, state, online)));
    ids->id = g_strdup(id);
    ids->set = g_strdup(cib_attribute(set, "id"));
    ids->standby_pair = g_strdup(cib_attribute(pair, "id"));
    g_hash_table_replace(snapshot->node_ids, g_strdup(name), ids);
}

static const char *property(const xmlNode *configuration, const char *name)
{
    return find_value(cib_child(configuration, "crm_config"), "cluster_property_set", name);
}

static const char *node_name(const xmlNode *configuration, const char *id)
{
    const xmlNode *nodes = cib_child(configuration, "nodes");

    for (const xmlNode *node = cib_child(nodes, "node"); node; node = cib_next(node, "node"))
        if (g_strcmp0(cib_attribute(node, "id"), id) == 0)
            return cib_attribute(node, "uname");
    return NULL;
}

static json_t *parse_cluster(const xmlNode *cib, const Cluster *cluster)
{
    const char *dc = cluster->dc ? node_name(cluster->configuration, cluster->dc) : NULL;
    const char *name = property(cluster->configuration, "cluster-name");
    const char *version = property(cluster->configuration, "dc-version");
    // "2.1.5-a3f44794f94": the part after the dash is the commit.
    g_autofree char *release =
        g_strndup(version ? version : "", version ? strcspn(version, "-") : 0);

    return json_pack("{s:s, s:b, s:b, s:s, s:s}", "dc", dc ? dc : "", "have_quorum",
                     truth(cib_attribute(cib, "have-quorum"), false), "stonith_enabled",
                     cluster->stonith, "cluster_name", name ? name : "", "version", release);
}

static const xmlNode *expression(const xmlNode *rule, const char *name)
{
    for (const xmlNode *node = cib_child(rule, "expression"); node; node = cib_next(node, "expression"))
        if (g_strcmp0(cib_attribute(node, "attribute"), name) == 0)
            return node;
    return NULL;
}

static void parse_preferences(CibSnapshot *snapshot, const xmlNode *constraints)
{
    for (const xmlNode *location = cib_child(constraints, "rsc_location"); location;
         location = cib_next(location, "rsc_location")) {
        const char *name = attribute_or(location, "rsc", "");
        const xmlNode *rule = cib_child(location, "rule");
        const char *node = cib_attribute(expression(rule, "#uname"), "value");
        g_autofree char *id = g_strconcat(PREFERENCE_PREFIX, name, NULL);
        g_autofree char *prefix = g_strconcat(id, OWNER_PREFIX, NULL);
        const char *rule_id = attribute_or(rule, "id", "");

        if (g_strcmp0(cib_attribute(location, "id"), id) != 0)
            continue;
        json_array_append_new(
            snapshot->preferences,
            json_pack("{s:s, s:s, s:s}", "name", name, "node", node ? node : "", "owner",
                      g_str_has_prefix(rule_id, prefix) ? rule_id + strlen(prefix) : ""));
    }
}

static bool is_failed_move(const xmlNode *op)
{
    const char *code = cib_attribute(op, "rc-code");

    return g_strcmp0(cib_attribute(op, "operation"), "migrate_to") == 0 &&
           g_strcmp0(attribute_or(op, "op-status", "0"), "-1") != 0 && g_strcmp0(code, "0") != 0;
}

static bool is_found(const xmlNode *op)
{
    return g_strcmp0(cib_attribute(op, "operation"), "monitor") == 0 &&
           g_strcmp0(attribute_or(op, "op-status", "0"), "0") == 0 &&
           g_strcmp0(cib_attribute(op, "rc-code"), "0") == 0;
}

static void add_node(json_t *names, const char *name, const char *node)
{
    if (!json_object_get(names, name))
        json_object_set_new(names, name, json_array());
    json_array_append_new(json_object_get(names, name), json_string(node));
}

static void parse_history(CibSnapshot *snapshot, const xmlNode *resource, const char *node)
{
    const char *name = attribute_or(resource, "id", "");

    for (const xmlNode *op = cib_child(resource, "lrm_rsc_op"); op; op = cib_next(op, "lrm_rsc_op")) {
        if (is_failed_move(op))
            add_node(snapshot->failed_moves, name, node);
        else if (is_found(op))
            add_node(snapshot->found, name, node);
    }
}

static void parse_histories(CibSnapshot *snapshot, const xmlNode *status)
{
    for (const xmlNode *state = cib_child(status, "node_state"); state;
         state = cib_next(state, "node_state")) {
        const xmlNode *resources = cib_child(cib_child(state, "lrm"), "lrm_resources");

        for (const xmlNode *resource = cib_child(resources, "lrm_resource"); resource;
             resource = cib_next(resource, "lrm_resource"))
            parse_history(snapshot, resource, attribute_or(state, "uname", ""));
    }
}

CibSnapshot *cib_snapshot_parse(const xmlNode *cib, GError **error)
{
    const xmlNode *configuration = cib_child(cib, "configuration");
    Cluster cluster = {.configuration = configuration, .status = cib_child(cib, "status")};
    CibSnapshot *snapshot;

    if (!cib || !cib_is(cib, "cib") || !configuration) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_FAILED,
                    "Pacemaker's answer is not a CIB with a configuration");
        return NULL;
    }
    cluster.dc = cib_attribute(cib, "dc-uuid");
    cluster.maintenance = truth(property(configuration, "maintenance-mode"), false);
    cluster.stonith = truth(property(configuration, "stonith-enabled"), true);
    cluster.startup_fencing = truth(property(configuration, "startup-fencing"), true);

    snapshot = g_new0(CibSnapshot, 1);
    snapshot->resources = json_array();
    snapshot->nodes = json_array();
    snapshot->preferences = json_array();
    snapshot->failed_moves = json_object();
    snapshot->found = json_object();
    snapshot->resource_ids =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, resource_ids_free);
    snapshot->node_ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, node_ids_free);
    snapshot->cluster = parse_cluster(cib, &cluster);
    parse_resources(snapshot, cib_child(configuration, "resources"), !cluster.maintenance);
    const xmlNode *nodes = cib_child(configuration, "nodes");
    for (const xmlNode *node = cib_child(nodes, "node"); node; node = cib_next(node, "node"))
        parse_node(snapshot, &cluster, node);
    parse_preferences(snapshot, cib_child(configuration, "constraints"));
    parse_histories(snapshot, cluster.status);
    snapshot->facts = cib_facts(configuration);
    return snapshot;
}

void cib_snapshot_free(CibSnapshot *snapshot)
{
    if (!snapshot)
        return;
    json_decref(snapshot->resources);
    json_decref(snapshot->nodes);
    json_decref(snapshot->cluster);
    json_decref(snapshot->preferences);
    json_decref(snapshot->failed_moves);
    json_decref(snapshot->found);
    json_decref(snapshot->facts);
    g_hash_table_unref(snapshot->resource_ids);
    g_hash_table_unref(snapshot->node_ids);
    g_free(snapshot);
}

// Writing -----------------------------------------------------------------------------------------

bool cib_xml_name_valid(const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length > 64 || !(g_ascii_isalpha(name[0]) || name[0] == '_'))
        return false;
    for (const char *c = name; *c; c++)
        if (!g_ascii_isalnum(*c) && !strchr("._-", *c))
            return false;
    return true;
}

static xmlNode *new_root(xmlDoc **doc, const char *name)
{
    *doc = xmlNewDoc((const xmlChar *)"1.0");
    xmlDocSetRootElement(*doc, xmlNewDocNode(*doc, NULL, (const xmlChar *)name, NULL));
    return xmlDocGetRootElement(*doc);
}

static xmlNode *add(xmlNode *parent, const char *name)
{
    return xmlNewChild(parent, NULL, (const xmlChar *)name, NULL);
}

static void set(xmlNode *node, const char *name, const char *value)
{
    xmlNewProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

// Sets the attribute "id" to the concatenated parts.
static void set_id(xmlNode *node, const char *name, const char *suffix)
{
    g_autofree char *id = g_strconcat(name, suffix, NULL);

    set(node, "id", id);
}

static xmlNode *add_set(xmlNode *parent, const char *kind, const char *id)
{
    xmlNode *node = add(parent, kind);

    set(node, "id", id);
    return node;
}

static void add_pair(xmlNode *parent, const char *id, const char *name, const char *value)
{
    xmlNode *pair = add_set(parent, "nvpair", id);

    set(pair, "name", name);
    set(pair, "value", value);
}

static char *pair_id(const char *set_name, const char *name)
{
    return g_strconcat(set_name, "-", name, NULL);
}

static void add_operation(xmlNode *operations, const char *resource, const char *name,
                          const char *interval, const char *timeout)
{
    xmlNode *op = add(operations, "op");
    g_autofree char *id = g_strconcat(resource, "-", name, "-", interval, NULL);

    set(op, "id", id);
    set(op, "name", name);
    set(op, "interval", interval);
    set(op, "timeout", timeout);
}

static void add_operations(xmlNode *primitive, const char *resource)
{
    xmlNode *operations = add(primitive, "operations");

    // Start restores and stop saves memory over the storage network: minutes for a large VM.
    add_operation(operations, resource, "start", "0", "300s");
    add_operation(operations, resource, "stop", "0", "300s");
    add_operation(operations, resource, "monitor", "10s", "20s");
    // migrate_to does the whole move, migrate_from only confirms it.
    add_operation(operations, resource, "migrate_to", "0", "600s");
    add_operation(operations, resource, "migrate_from", "0", "60s");
    add_operation(operations, resource, "reload-agent", "0", "20s");
}

static void add_meta(xmlNode *primitive, const char *resource, bool started, bool movable)
{
    const char *const pairs[][2] = {
        {"allow-migrate", movable ? "true" : "false"},
        {"resource-stickiness", STICKINESS},
        {"migration-threshold", MIGRATION_THRESHOLD},
        {"failure-timeout", FAILURE_TIMEOUT},
        // Of a node that was fenced by its storage and comes back, its stale copy goes, not the VM.
        {"multiple-active", "stop_unexpected"},
        {"target-role", started ? "Started" : "Stopped"},
    };
    xmlNode *meta = add(primitive, "meta_attributes");
    g_autofree char *meta_id = g_strconcat(resource, "-meta_attributes", NULL);

    set(meta, "id", meta_id);
    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *id = pair_id(meta_id, pairs[i][0]);

        add_pair(meta, id, pairs[i][0], pairs[i][1]);
    }
}

// JSON that means the same and survives Pacemaker's transport: 2.1 writes a newline as the two
// characters "\n", other control characters in octal, and leaves quotes that follow a character
// beyond ASCII unescaped. Within JSON line ends and tabs are blanks between tokens, and all the
// rest stands in strings, where \u escapes say the same.
static char *plain_json(const char *text, GError **error)
{
    GString *plain = g_string_new(NULL);

    if (!g_utf8_validate(text, -1, NULL)) {
        g_string_free(plain, TRUE);
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID, "the definition is not UTF-8");
        return NULL;
    }
    for (const char *at = text; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);

        if (c < ' ')
            g_string_append_c(plain, ' ');
        else if (c <= '~')
            g_string_append_c(plain, (char)c);
        else if (c < 0x10000)
            g_string_append_printf(plain, "\\u%04x", c);
        else
            g_string_append_printf(plain, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                                   0xdc00 + ((c - 0x10000) & 0x3ff));
    }
    return g_string_free(plain, FALSE);
}

xmlDoc *cib_xml_primitive(const char *name, const char *definition, bool started, bool movable,
                          GError **error)
{
    g_autofree char *plain = plain_json(definition, error);
    g_autofree char *parameters = g_strconcat(name, "-instance_attributes", NULL);
    g_autofree char *definition_id = pair_id(parameters, "definition");
    xmlDoc *doc;
    xmlNode *primitive;

    if (!plain)
        return NULL;
    primitive = new_root(&doc, "primitive");
    set(primitive, "id", name);
    set(primitive, "class", "ocf");
    set(primitive, "provider", "vmferry");
    set(primitive, "type", "VirtualMachine");
    add_pair(add_set(primitive, "instance_attributes", parameters), definition_id, "definition",
             plain);
    add_meta(primitive, name, started, movable);
    add_operations(primitive, name);
    return doc;
}

// An update of one value: only ids lead from the element to it, and where the element has none yet
// the ids are those that Pacemaker's own tools would choose.
static xmlDoc *value_update(const char *element, const char *element_id, const char *kind,
                            const char *set_name, const char *fallback_set, const char *pair,
                            const char *name, const char *value)
{
    const char *in_set = set_name ? set_name : fallback_set;
    g_autofree char *fallback_pair = pair_id(in_set, name);
    xmlDoc *doc;
    xmlNode *root = new_root(&doc, element);

    set(root, "id", element_id);
    add_pair(add_set(root, kind, in_set), pair ? pair : fallback_pair, name, value);
    return doc;
}

static const ResourceIds *find_resource(const CibSnapshot *snapshot, const char *name,
                                        GError **error)
{
    const ResourceIds *ids = g_hash_table_lookup(snapshot->resource_ids, name);

    if (!ids)
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_NOT_FOUND,
                    "%s is not a VM of this cluster (no such ocf:vmferry:VirtualMachine)", name);
    return ids;
}

xmlDoc *cib_xml_set_definition(const CibSnapshot *snapshot, const char *name,
                               const char *definition, GError **error)
{
    const ResourceIds *ids = find_resource(snapshot, name, error);
    g_autofree char *plain = ids ? plain_json(definition, error) : NULL;
    g_autofree char *fallback = g_strconcat(name, "-instance_attributes", NULL);

    return plain ? value_update("primitive", name, "instance_attributes", ids->definition_set,
                                fallback, ids->definition_pair, "definition", plain)
                 : NULL;
}

xmlDoc *cib_xml_set_role(const CibSnapshot *snapshot, const char *name, bool started,
                         GError **error)
{
    const ResourceIds *ids = find_resource(snapshot, name, error);
    g_autofree char *fallback = g_strconcat(name, "-meta_attributes", NULL);

    return ids ? value_update("primitive", name, "meta_attributes", ids->meta_set, fallback,
                              ids->role_pair, "target-role", started ? "Started" : "Stopped")
               : NULL;
}

xmlDoc *cib_xml_set_epoch(const CibSnapshot *snapshot, const char *name, uint64_t epoch,
                          GError **error)
{
    const ResourceIds *ids = find_resource(snapshot, name, error);
    g_autofree char *fallback = g_strconcat(name, "-meta_attributes", NULL);
    g_autofree char *value = g_strdup_printf("%" G_GUINT64_FORMAT, epoch);

    return ids ? value_update("primitive", name, "meta_attributes", ids->meta_set, fallback,
                              ids->epoch_pair, EPOCH, value)
               : NULL;
}

uint64_t cib_snapshot_epoch(const CibSnapshot *snapshot, const char *name)
{
    const ResourceIds *ids = g_hash_table_lookup(snapshot->resource_ids, name);

    return ids ? ids->epoch : 0;
}

xmlDoc *cib_xml_set_standby(const CibSnapshot *snapshot, const char *node, bool standby,
                            GError **error)
{
    const NodeIds *ids = g_hash_table_lookup(snapshot->node_ids, node);
    g_autofree char *fallback = NULL;

    if (!ids) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_NOT_FOUND, "%s is not a node of this cluster",
                    node);
        return NULL;
    }
    fallback = g_strconcat("nodes-", ids->id, NULL);
    return value_update("node", ids->id, "instance_attributes", ids->set, fallback,
                        ids->standby_pair, "standby", standby ? "on" : "off");
}

static void add_node_expression(xmlNode *rule, const char *id, const char *node)
{
    xmlNode *node_is = add(rule, "expression");

    set_id(node_is, id, "-node");
    set(node_is, "attribute", "#uname");
    set(node_is, "operation", "eq");
    set(node_is, "value", node);
}

static void add_until(xmlNode *rule, const char *id, gint64 until)
{
    g_autoptr(GDateTime) end = g_date_time_new_from_unix_utc(until);
    g_autofree char *text = g_date_time_format(end, "%Y-%m-%d %H:%M:%SZ");
    xmlNode *date = add(rule, "date_expression");

    set_id(date, id, "-until");
    set(date, "operation", "lt");
    set(date, "end", text);
}

xmlDoc *cib_xml_preference(const char *name, const char *node, const char *owner, gint64 until)
{
    g_autofree char *id = g_strconcat(PREFERENCE_PREFIX, name, NULL);
    g_autofree char *rule_id = g_strconcat(id, OWNER_PREFIX, owner, NULL);
    xmlDoc *doc;
    xmlNode *location = new_root(&doc, "rsc_location");
    xmlNode *rule;

    set(location, "id", id);
    set(location, "rsc", name);
    rule = add_set(location, "rule", rule_id);
    set(rule, "score", "INFINITY");
    set(rule, "boolean-op", "and");
    add_node_expression(rule, id, node);
    add_until(rule, id, until);
    return doc;
}

xmlDoc *cib_xml_hold(const char *name, gint64 until)
{
    g_autofree char *id = g_strconcat(HOLD_PREFIX, name, NULL);
    g_autofree char *rule_id = g_strconcat(id, "-rule", NULL);
    g_autofree char *pair = pair_id(id, "is-managed");
    xmlDoc *doc;
    xmlNode *primitive = new_root(&doc, "primitive");
    xmlNode *meta, *rule;

    set(primitive, "id", name);
    meta = add_set(primitive, "meta_attributes", id);
    set(meta, "score", "INFINITY"); // before the resource's own set
    rule = add_set(meta, "rule", rule_id);
    set(rule, "score", "INFINITY");
    add_until(rule, id, until);
    add_pair(meta, pair, "is-managed", "false");
    return doc;
}

char *cib_xpath_preference(const char *name)
{
    return g_strdup_printf("//constraints/rsc_location[@id='" PREFERENCE_PREFIX "%s']", name);
}

char *cib_xpath_hold(const char *name)
{
    return g_strdup_printf("//resources//meta_attributes[@id='" HOLD_PREFIX "%s']", name);
}

char *cib_xpath_constraints(const char *name)
{
    return g_strdup_printf("//constraints/*[@rsc='%s' or @with-rsc='%s' or @first='%s' or "
                           "@then='%s' or resource_set/resource_ref/@id='%s']",
                           name, name, name, name, name);
}

char *cib_xpath_primitive(const char *name)
{
    return g_strdup_printf("//resources//primitive[@id='%s']", name);
}

char *cib_xpath_history(const char *name)
{
    return g_strdup_printf("//status/node_state/lrm/lrm_resources/lrm_resource[@id='%s']", name);
}
