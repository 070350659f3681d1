// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/cluster.h"
#include "agent/fragment.h"
#include <corosync/cmap.h>
#include <corosync/cpg.h>
#include <corosync/quorum.h>
#include <glib-unix.h>
#include <string.h>

#define GROUP "vmferry"
#define RECONNECT_S 1
#define RETRY_MS 5                      // after corosync's flow control said "try again"
#define FRAGMENT_MAX (256u * 1024)      // well below CPG's maximum, kind to other users of the ring
#define QUEUE_MAX (32u * 1024u * 1024u) // bytes that wait for flow control

// One agent in the group: the process that speaks for its node now.
typedef struct {
    uint32_t pid;
    char *name;
    FragmentJoin *join;
} Member;

typedef struct {
    char *name;
    bool online;
} Node;

struct AgentCluster {
    AgentClusterEvents events;
    gpointer data;

    cpg_handle_t cpg;
    quorum_handle_t quorum_handle;
    bool cpg_open, quorum_open;
    guint cpg_source, quorum_source, reconnect_source, retry_source, drop_source;

    bool connected; // our own join was delivered
    bool quorate;
    char *local_node;
    uint32_t local_id;
    GHashTable *members; // node id -> Member
    GTree *nodes;        // node id -> Node
    GQueue outgoing;     // GBytes, fragments in order
    size_t outgoing_bytes;
    size_t fragment_max;
    uint32_t next_message_id;
};

static void member_free(gpointer data)
{
    Member *member = data;

    g_free(member->name);
    fragment_join_free(member->join);
    g_free(member);
}

static void node_free(gpointer data)
{
    Node *node = data;

    g_free(node->name);
    g_free(node);
}

static int compare_ids(gconstpointer a, gconstpointer b, gpointer data)
{
    guint x = GPOINTER_TO_UINT(a), y = GPOINTER_TO_UINT(b);

    (void)data;
    return (x > y) - (x < y);
}

// Names of nodes ----------------------------------------------------------------------------------

static Node *get_node(AgentCluster *cluster, uint32_t id)
{
    Node *node = g_tree_lookup(cluster->nodes, GUINT_TO_POINTER(id));

    if (!node) {
        node = g_new0(Node, 1);
        g_tree_insert(cluster->nodes, GUINT_TO_POINTER(id), node);
    }
    return node;
}

static void read_node(AgentCluster *cluster, cmap_handle_t cmap, const char *id_key)
{
    g_autofree char *prefix = g_strndup(id_key, strlen(id_key) - strlen("nodeid"));
    g_autofree char *name_key = g_strconcat(prefix, "name", NULL);
    g_autofree char *address_key = g_strconcat(prefix, "ring0_addr", NULL);
    uint32_t id;
    char *name = NULL;
    Node *node;

    if (cmap_get_uint32(cmap, id_key, &id) != CS_OK ||
        (cmap_get_string(cmap, name_key, &name) != CS_OK &&
         cmap_get_string(cmap, address_key, &name) != CS_OK))
        return;
    node = get_node(cluster, id);
    g_free(node->name);
    node->name = g_strdup(name);
    free(name);
}

static bool read_nodes(AgentCluster *cluster)
{
    cmap_handle_t cmap;
    cmap_iter_handle_t iterator;
    char key[CMAP_KEYNAME_MAXLEN + 1];

    if (cmap_initialize(&cmap) != CS_OK)
        return false;
    if (cmap_iter_init(cmap, "nodelist.node.", &iterator) == CS_OK) {
        while (cmap_iter_next(cmap, iterator, key, NULL, NULL) == CS_OK)
            if (g_str_has_suffix(key, ".nodeid"))
                read_node(cluster, cmap, key);
        cmap_iter_finalize(cmap, iterator);
    }
    cmap_finalize(cmap);
    return true;
}

// The node list may have grown since it was read: nodes can be added while corosync runs.
static const char *node_name(AgentCluster *cluster, uint32_t id)
{
    Node *node = get_node(cluster, id);

    if (!node->name)
        read_nodes(cluster);
    if (!node->name)
        node->name = g_strdup_printf("node%u", id);
    return node->name;
}

// Losing the connection ---------------------------------------------------------------------------

static gboolean try_connect(gpointer data);

static void clear_source(guint *source)
{
    if (*source)
        g_source_remove(*source);
    *source = 0;
}

static void disconnect(AgentCluster *cluster)
{
    clear_source(&cluster->cpg_source);
    clear_source(&cluster->quorum_source);
    clear_source(&cluster->retry_source);
    clear_source(&cluster->drop_source);
    if (cluster->cpg_open)
        cpg_finalize(cluster->cpg);
    if (cluster->quorum_open)
        quorum_finalize(cluster->quorum_handle);
    cluster->cpg_open = cluster->quorum_open = false;
    cluster->connected = cluster->quorate = false;
    g_hash_table_remove_all(cluster->members);
    g_tree_remove_all(cluster->nodes);
    g_queue_clear_full(&cluster->outgoing, (GDestroyNotify)g_bytes_unref);
    cluster->outgoing_bytes = 0;
}

static void lose(AgentCluster *cluster)
{
    bool was_connected = cluster->connected;

    disconnect(cluster);
    if (!cluster->reconnect_source)
        cluster->reconnect_source = g_timeout_add_seconds(RECONNECT_S, try_connect, cluster);
    if (was_connected)
        cluster->events.lost(cluster->data);
}

static gboolean lose_later(gpointer data)
{
    AgentCluster *cluster = data;

    cluster->drop_source = 0;
    lose(cluster);
    return G_SOURCE_REMOVE;
}

// Sending -----------------------------------------------------------------------------------------

static gboolean flush(gpointer data)
{
    AgentCluster *cluster = data;
    GBytes *head;

    while ((head = g_queue_peek_head(&cluster->outgoing))) {
        gsize length;
        struct iovec part = {.iov_base = (void *)g_bytes_get_data(head, &length)};
        cs_error_t result;

        part.iov_len = length;
        result = cpg_mcast_joined(cluster->cpg, CPG_TYPE_AGREED, &part, 1);
        if (result == CS_ERR_TRY_AGAIN) {
            if (!cluster->retry_source)
                cluster->retry_source = g_timeout_add(RETRY_MS, flush, cluster);
            return G_SOURCE_CONTINUE;
        }
        if (result != CS_OK) {
            // The caller may be a callback from within cpg_dispatch: the handle has to outlive it.
            g_debug("corosync: cannot send: %s", cs_strerror(result));
            if (!cluster->drop_source)
                cluster->drop_source = g_idle_add(lose_later, cluster);
            break;
        }
        cluster->outgoing_bytes -= length;
        g_bytes_unref(g_queue_pop_head(&cluster->outgoing));
    }
    cluster->retry_source = 0;
    return G_SOURCE_REMOVE;
}

static bool enqueue(AgentCluster *cluster, const char *text, GError **error)
{
    size_t length = strlen(text);
    g_autoptr(GPtrArray) fragments = NULL;

    if (length > QUEUE_MAX - cluster->outgoing_bytes) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                    "corosync accepts no messages at the moment (%zu bytes wait)",
                    cluster->outgoing_bytes);
        return false;
    }
    fragments =
        fragment_split(cluster->next_message_id++, text, length, cluster->fragment_max, error);
    if (!fragments)
        return false;
    for (guint i = 0; i < fragments->len; i++) {
        GBytes *fragment = g_bytes_ref(fragments->pdata[i]);

        cluster->outgoing_bytes += g_bytes_get_size(fragment);
        g_queue_push_tail(&cluster->outgoing, fragment);
    }
    return true;
}

bool agent_cluster_send(AgentCluster *cluster, json_t *message, GError **error)
{
    char *text = NULL;
    bool sent = false;

    if (!cluster->connected)
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                    "this node is not connected to corosync; is corosync.service running?");
    else if (!(text = json_dumps(message, JSON_COMPACT)))
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID, "the message is not JSON");
    else
        sent = enqueue(cluster, text, error);
    if (sent && !cluster->retry_source)
        flush(cluster);
    free(text);
    json_decref(message);
    return sent;
}

// Receiving ---------------------------------------------------------------------------------------

static void deliver(AgentCluster *cluster, const Member *member, GBytes *bytes)
{
    gsize length;
    const char *text = g_bytes_get_data(bytes, &length);
    json_error_t why;
    json_t *message = json_loadb(text, length, 0, &why);

    if (!message) {
        g_debug("%s: sent a message that is not JSON: %s", member->name, why.text);
        return;
    }
    // The callback may learn of the end of a member; the name has to outlive it.
    g_autofree char *from = g_strdup(member->name);
    cluster->events.message(from, message, cluster->data);
    json_decref(message);
}

static AgentCluster *context(cpg_handle_t handle)
{
    void *cluster = NULL;

    cpg_context_get(handle, &cluster);
    return cluster;
}

// CPG announces a member before its first message. What comes from anyone else was sent by the
// process that a newer one of the same node has replaced, and nobody waits for it.
static void on_deliver(cpg_handle_t handle, const struct cpg_name *group, uint32_t node_id,
                       uint32_t pid, void *data, size_t length)
{
    AgentCluster *cluster = context(handle);
    Member *member = g_hash_table_lookup(cluster->members, GUINT_TO_POINTER(node_id));
    g_autoptr(GBytes) message = NULL;
    g_autoptr(GError) error = NULL;

    (void)group;
    if (!member || member->pid != pid) {
        g_debug("corosync: dropped a message of node %u process %u, not a member", node_id, pid);
        return;
    }
    if (!fragment_join_add(member->join, data, length, &message, &error))
        g_debug("%s: %s", member->name, error->message);
    else if (message)
        deliver(cluster, member, message);
}

// Members -----------------------------------------------------------------------------------------

static void member_left(AgentCluster *cluster, uint32_t node_id, uint32_t pid,
                        AgentLeftReason reason)
{
    Member *member = g_hash_table_lookup(cluster->members, GUINT_TO_POINTER(node_id));
    g_autofree char *name = NULL;

    if (!member || member->pid != pid)
        return;
    name = g_strdup(member->name);
    g_hash_table_remove(cluster->members, GUINT_TO_POINTER(node_id));
    cluster->events.left(name, reason, cluster->data);
}

// A second process on a node is a restarted agent whose predecessor's end is not announced yet.
static void member_joined(AgentCluster *cluster, uint32_t node_id, uint32_t pid)
{
    Member *member = g_hash_table_lookup(cluster->members, GUINT_TO_POINTER(node_id));

    if (member && member->pid == pid)
        return;
    if (member)
        member_left(cluster, node_id, member->pid, AGENT_LEFT_PROCESS);
    member = g_new0(Member, 1);
    member->pid = pid;
    member->name = g_strdup(node_name(cluster, node_id));
    member->join = fragment_join_new();
    g_hash_table_insert(cluster->members, GUINT_TO_POINTER(node_id), member);
    cluster->events.joined(member->name, cluster->data);
}

static bool contains(const struct cpg_address *list, size_t entries, uint32_t node_id, uint32_t pid)
{
    for (size_t i = 0; i < entries; i++)
        if (list[i].nodeid == node_id && list[i].pid == pid)
            return true;
    return false;
}

static void first_membership(AgentCluster *cluster, const struct cpg_address *list, size_t entries)
{
    cluster->connected = true;
    cluster->events.connected(cluster->data);
    for (size_t i = 0; i < entries; i++)
        member_joined(cluster, list[i].nodeid, list[i].pid);
}

static void on_confchg(cpg_handle_t handle, const struct cpg_name *group,
                       const struct cpg_address *members, size_t member_entries,
                       const struct cpg_address *left, size_t left_entries,
                       const struct cpg_address *joined, size_t joined_entries)
{
    AgentCluster *cluster = context(handle);

    (void)group;
    if (!cluster->connected) {
        if (contains(members, member_entries, cluster->local_id, (uint32_t)getpid()))
            first_membership(cluster, members, member_entries);
        return;
    }
    // Those who left come first: a restarted agent is in both lists.
    for (size_t i = 0; i < left_entries; i++)
        member_left(cluster, left[i].nodeid, left[i].pid,
                    left[i].reason == CPG_REASON_NODEDOWN ? AGENT_LEFT_NODE : AGENT_LEFT_PROCESS);
    for (size_t i = 0; i < joined_entries; i++)
        member_joined(cluster, joined[i].nodeid, joined[i].pid);
}

static gboolean on_cpg_ready(gint fd, GIOCondition condition, gpointer data)
{
    AgentCluster *cluster = data;
    cs_error_t result = cpg_dispatch(cluster->cpg, CS_DISPATCH_ALL);

    (void)fd;
    if ((result == CS_OK || result == CS_ERR_TRY_AGAIN) && !(condition & (G_IO_HUP | G_IO_ERR)))
        return G_SOURCE_CONTINUE;
    g_debug("corosync: the group is gone: %s", cs_strerror(result));
    cluster->cpg_source = 0;
    lose(cluster);
    return G_SOURCE_REMOVE;
}

// Quorum ------------------------------------------------------------------------------------------

static gboolean set_offline(gpointer id, gpointer value, gpointer data)
{
    (void)id;
    (void)data;
    ((Node *)value)->online = false;
    return FALSE;
}

static void on_quorum(quorum_handle_t handle, uint32_t quorate, uint64_t ring, uint32_t entries,
                      uint32_t *list)
{
    const void *pointer = NULL;
    AgentCluster *cluster;

    (void)ring;
    quorum_context_get(handle, &pointer);
    cluster = (AgentCluster *)pointer;
    read_nodes(cluster);
    g_tree_foreach(cluster->nodes, set_offline, NULL);
    for (uint32_t i = 0; i < entries; i++)
        get_node(cluster, list[i])->online = true;
    if (cluster->quorate == (quorate != 0))
        return;
    cluster->quorate = quorate != 0;
    cluster->events.quorum(cluster->quorate, cluster->data);
}

static gboolean on_quorum_ready(gint fd, GIOCondition condition, gpointer data)
{
    AgentCluster *cluster = data;
    cs_error_t result = quorum_dispatch(cluster->quorum_handle, CS_DISPATCH_ALL);

    (void)fd;
    if ((result == CS_OK || result == CS_ERR_TRY_AGAIN) && !(condition & (G_IO_HUP | G_IO_ERR)))
        return G_SOURCE_CONTINUE;
    g_debug("corosync: quorum is gone: %s", cs_strerror(result));
    cluster->quorum_source = 0;
    lose(cluster);
    return G_SOURCE_REMOVE;
}

// Connecting --------------------------------------------------------------------------------------

static cs_error_t open_quorum(AgentCluster *cluster)
{
    quorum_callbacks_t callbacks = {.quorum_notify_fn = on_quorum};
    uint32_t type;
    int fd;
    cs_error_t result = quorum_initialize(&cluster->quorum_handle, &callbacks, &type);

    if (result != CS_OK)
        return result;
    cluster->quorum_open = true;
    if ((result = quorum_context_set(cluster->quorum_handle, cluster)) != CS_OK ||
        (result = quorum_fd_get(cluster->quorum_handle, &fd)) != CS_OK)
        return result;
    cluster->quorum_source =
        g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_quorum_ready, cluster);
    return quorum_trackstart(cluster->quorum_handle, CS_TRACK_CURRENT | CS_TRACK_CHANGES);
}

static cs_error_t open_group(AgentCluster *cluster)
{
    cpg_model_v1_data_t model = {
        .model = CPG_MODEL_V1,
        .cpg_deliver_fn = on_deliver,
        .cpg_confchg_fn = on_confchg,
    };
    struct cpg_name group = {.length = strlen(GROUP), .value = GROUP};
    uint32_t atomic_max;
    int fd;
    cs_error_t result =
        cpg_model_initialize(&cluster->cpg, CPG_MODEL_V1, (cpg_model_data_t *)&model, cluster);

    if (result != CS_OK)
        return result;
    cluster->cpg_open = true;
    if ((result = cpg_local_get(cluster->cpg, &cluster->local_id)) != CS_OK ||
        (result = cpg_max_atomic_msgsize_get(cluster->cpg, &atomic_max)) != CS_OK ||
        (result = cpg_fd_get(cluster->cpg, &fd)) != CS_OK)
        return result;
    cluster->fragment_max = MIN(FRAGMENT_MAX, atomic_max);
    cluster->cpg_source = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_cpg_ready, cluster);
    return cpg_join(cluster->cpg, &group);
}

// Node names, then the group, then quorum: whoever gets the first callback knows the names.
static gboolean try_connect(gpointer data)
{
    AgentCluster *cluster = data;
    cs_error_t result = read_nodes(cluster) ? open_group(cluster) : CS_ERR_LIBRARY;

    if (result == CS_OK) {
        g_free(cluster->local_node);
        cluster->local_node = g_strdup(node_name(cluster, cluster->local_id));
        result = open_quorum(cluster);
    }
    if (result != CS_OK) {
        g_debug("corosync: not yet: %s", cs_strerror(result));
        disconnect(cluster);
        if (!cluster->reconnect_source)
            cluster->reconnect_source = g_timeout_add_seconds(RECONNECT_S, try_connect, cluster);
        return G_SOURCE_CONTINUE;
    }
    cluster->reconnect_source = 0;
    return G_SOURCE_REMOVE;
}

AgentCluster *agent_cluster_new(const AgentClusterEvents *events, gpointer data)
{
    AgentCluster *cluster = g_new0(AgentCluster, 1);

    cluster->events = *events;
    cluster->data = data;
    cluster->members = g_hash_table_new_full(NULL, NULL, NULL, member_free);
    cluster->nodes = g_tree_new_full(compare_ids, NULL, NULL, node_free);
    g_queue_init(&cluster->outgoing);
    try_connect(cluster);
    return cluster;
}

void agent_cluster_free(AgentCluster *cluster)
{
    if (!cluster)
        return;
    disconnect(cluster);
    clear_source(&cluster->reconnect_source);
    g_hash_table_unref(cluster->members);
    g_tree_unref(cluster->nodes);
    g_free(cluster->local_node);
    g_free(cluster);
}

// Getters -----------------------------------------------------------------------------------------

bool agent_cluster_connected(const AgentCluster *cluster)
{
    return cluster->connected;
}

bool agent_cluster_quorate(const AgentCluster *cluster)
{
    return cluster->quorate;
}

const char *agent_cluster_local_node(const AgentCluster *cluster)
{
    return cluster->local_node;
}

bool agent_cluster_has(const AgentCluster *cluster, const char *node)
{
    GHashTableIter iterator;
    gpointer member;

    g_hash_table_iter_init(&iterator, cluster->members);
    while (g_hash_table_iter_next(&iterator, NULL, &member))
        if (strcmp(((Member *)member)->name, node) == 0)
            return true;
    return false;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char **agent_cluster_members(const AgentCluster *cluster)
{
    GPtrArray *names = g_ptr_array_new();
    GHashTableIter iterator;
    gpointer member;

    g_hash_table_iter_init(&iterator, cluster->members);
    while (g_hash_table_iter_next(&iterator, NULL, &member))
        g_ptr_array_add(names, g_strdup(((Member *)member)->name));
    g_ptr_array_sort(names, compare_names);
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

static gboolean append_node(gpointer id, gpointer value, gpointer array)
{
    const Node *node = value;

    if (node->name)
        json_array_append_new(array,
                              json_pack("{s:s, s:I, s:b}", "name", node->name, "id",
                                        (json_int_t)GPOINTER_TO_UINT(id), "online", node->online));
    return FALSE;
}

json_t *agent_cluster_nodes(const AgentCluster *cluster)
{
    json_t *array = json_array();

    g_tree_foreach(cluster->nodes, append_node, array);
    return array;
}

// What corosync runs with ------------------------------------------------------------------------

static json_t *cmap_text(cmap_handle_t cmap, const char *key)
{
    char *value = NULL;
    json_t *text = NULL;

    if (cmap_get_string(cmap, key, &value) == CS_OK)
        text = json_string(value);
    free(value);
    return text ? text : json_null();
}

static json_int_t cmap_number(cmap_handle_t cmap, const char *key)
{
    uint32_t value = 0;

    return cmap_get_uint32(cmap, key, &value) == CS_OK ? (json_int_t)value : 0;
}

static bool cmap_yes(cmap_handle_t cmap, const char *key)
{
    uint8_t value = 0;

    return cmap_get_uint8(cmap, key, &value) == CS_OK && value != 0;
}

static json_int_t links_of(cmap_handle_t cmap, const char *id_key)
{
    g_autofree char *prefix = g_strndup(id_key, strlen(id_key) - strlen("nodeid"));
    json_int_t links = 0;

    for (unsigned i = 0; i < 8; i++) { // knet's most
        g_autofree char *key = g_strdup_printf("%sring%u_addr", prefix, i);
        char *address = NULL;

        links += cmap_get_string(cmap, key, &address) == CS_OK;
        free(address);
    }
    return links;
}

// How many nodes there are, and the links of the one that has fewest.
static void count_nodes(cmap_handle_t cmap, json_int_t *nodes, json_int_t *links)
{
    cmap_iter_handle_t iterator;
    char key[CMAP_KEYNAME_MAXLEN + 1];

    if (cmap_iter_init(cmap, "nodelist.node.", &iterator) != CS_OK)
        return;
    while (cmap_iter_next(cmap, iterator, key, NULL, NULL) == CS_OK) {
        if (!g_str_has_suffix(key, ".nodeid"))
            continue;
        json_int_t found = links_of(cmap, key);
        *links = *nodes == 0 ? found : MIN(*links, found);
        (*nodes)++;
    }
    cmap_iter_finalize(cmap, iterator);
}

json_t *agent_cluster_corosync(const AgentCluster *cluster)
{
    cmap_handle_t cmap;
    json_int_t nodes = 0, links = 0;
    json_t *facts;

    (void)cluster;
    if (cmap_initialize(&cmap) != CS_OK)
        return json_pack("{s:s}", "problem", "corosync's cmap does not answer");
    count_nodes(cmap, &nodes, &links);
    facts = json_pack(
        "{s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:b}", "crypto_cipher",
        cmap_text(cmap, "totem.crypto_cipher"), "crypto_hash", cmap_text(cmap, "totem.crypto_hash"),
        "secauth", cmap_text(cmap, "totem.secauth"), "qdevice",
        cmap_text(cmap, "quorum.device.model"), "token_ms",
        cmap_number(cmap, "runtime.config.totem.token"), "consensus_ms",
        cmap_number(cmap, "runtime.config.totem.consensus"), "nodes", nodes, "links", links,
        "two_node", cmap_yes(cmap, "quorum.two_node"));
    cmap_finalize(cmap);
    return facts;
}
