// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/messages.h"

#include "agent/calls.h"
#include "agent/migrate.h"
#include "agent/move_in.h"
#include "agent/move_out.h"
#include "agent/status.h"

#include <string.h>

typedef struct {
    Agent *agent;
    char *id;
    char *node;
    guint timer;
    AgentReplyFn reply;
    gpointer data;
} Call;

static void send_to_all(Agent *agent, json_t *message)
{
    g_autoptr(GError) error = NULL;
    if (!agent_cluster_send(agent->cluster, message, &error))
        g_warning("%s", error->message);
}

void agent_messages_held(json_t *message, gint64 held_us, gpointer agent)
{
    if (held_us > 0)
        json_object_set_new(message, "held_us", json_integer(held_us));
    send_to_all(agent, message);
}

static const char *text(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

// --- moves ---

void agent_messages_send_move(Agent *agent, const char *to, const FerryMessage *message)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s*, s:s*, s:s*, s:s*, s:I, s:s*}", "t", "move",
                  "to", to, "type", ferry_message_name(message->type), "move", message->move, "vm",
                  message->vm, "epoch", (json_int_t)message->epoch, "definition",
                  message->definition, "machine", message->machine, "qemu_version",
                  message->qemu_version, "reason", message->reason, "bytes_read",
                  (json_int_t)message->bytes_read, "mode", message->mode);
    if (message->type == FERRY_MESSAGE_RUNNING)
        agent_outbox_add(agent->outbox, json);
    else
        send_to_all(agent, json);
}

// The source asks about a move that is not under way here: either the VM runs here, or this node
// has nothing of it and, with no move known, can never commit it.
static void answer_unknown_abort(Agent *agent, const char *from, const FerryMessage *message)
{
    AgentVm *vm = agent_vm_find(agent, message->vm);
    bool owns = vm != NULL && vm->state != AGENT_VM_ABSENT && vm->state != AGENT_VM_INCOMING &&
                strcmp(vm->record.owner, agent->name) == 0 && vm->record.epoch > message->epoch;
    agent_messages_send_move(agent, from,
                             &(FerryMessage){
                                 .type = owns ? FERRY_MESSAGE_RUNNING : FERRY_MESSAGE_ABORTED,
                                 .move = message->move,
                                 .vm = message->vm,
                                 .epoch = owns ? vm->record.epoch : message->epoch,
                                 .reason = owns ? NULL : "no such move here",
                             });
}

static void abort_from_a_new_source(AgentVm *vm, const char *from, const FerryMessage *message)
{
    // The source's agent was restarted and has a new id for the move: the old one is meant.
    const char *source = vm->in != NULL ? agent_move_in_source(vm->in) : NULL;
    if (source == NULL || strcmp(source, from) != 0) {
        answer_unknown_abort(vm->agent, from, message);
        return;
    }
    if (!agent_move_in_committed(vm->in))
        agent_move_in_cancel(vm->in, "the source's agent was restarted");
}

static void handle_move(Agent *agent, const char *from, json_t *json)
{
    FerryMessage message = {
        .move = text(json, "move"),
        .vm = text(json, "vm"),
        .epoch = (uint64_t)json_integer_value(json_object_get(json, "epoch")),
        .definition = text(json, "definition"),
        .machine = text(json, "machine"),
        .qemu_version = text(json, "qemu_version"),
        .reason = text(json, "reason"),
        .bytes_read = (uint64_t)json_integer_value(json_object_get(json, "bytes_read")),
        .mode = text(json, "mode"),
        .held_us = (uint64_t)json_integer_value(json_object_get(json, "held_us")),
    };
    const char *type = text(json, "type");
    if (type == NULL || message.move == NULL || message.vm == NULL ||
        !ferry_message_from_name(type, &message.type)) {
        g_warning("a move message from %s cannot be understood", from);
        return;
    }
    AgentVm *vm = agent_vm_find(agent, message.vm);
    if (message.type == FERRY_MESSAGE_REHEARSE && message.definition != NULL)
        agent_move_in_rehearse(agent, from, &message);
    else if (vm != NULL && vm->in != NULL && agent_move_in_is(vm->in, message.move))
        agent_move_in_message(vm->in, &message);
    else if (vm != NULL && vm->out != NULL && agent_move_out_is(vm->out, message.move))
        agent_move_out_message(vm->out, &message);
    else if (message.type == FERRY_MESSAGE_ABORT && vm != NULL && vm->in != NULL)
        abort_from_a_new_source(vm, from, &message);
    else if (message.type == FERRY_MESSAGE_ABORT)
        answer_unknown_abort(agent, from, &message);
}

// --- calls ---

static void call_free(gpointer data)
{
    Call *call = data;
    g_clear_handle_id(&call->timer, g_source_remove);
    g_free(call->id);
    g_free(call->node);
    g_free(call);
}

static void call_ends(Call *call, json_t *result, const GError *error)
{
    g_hash_table_steal(call->agent->calls, call->id);
    call->reply(result, error, call->data);
    call_free(call);
}

static gboolean call_is_late(gpointer data)
{
    Call *call = data;
    call->timer = 0;
    g_autoptr(GError) error = g_error_new(AGENT_ERROR, AGENT_ERROR_TIMEOUT,
                                          "%s: no answer within %d s", call->node, AGENT_CALL_MS / 1000);
    call_ends(call, NULL, error);
    return G_SOURCE_REMOVE;
}

void agent_messages_call(Agent *agent, const char *node, const char *op, json_t *args,
                         AgentReplyFn reply, gpointer data)
{
    g_autoptr(GError) error = NULL;
    if (!agent_cluster_has(agent->cluster, node)) {
        error = g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                            "%s: its vmferryd is not in the cluster", node);
        json_decref(args);
        reply(NULL, error, data);
        return;
    }
    if (agent->calls == NULL)
        agent->calls = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, call_free);
    Call *call = g_new0(Call, 1);
    *call = (Call){.agent = agent,
                   .id = agent_new_id(agent),
                   .node = g_strdup(node),
                   .reply = reply,
                   .data = data};
    call->timer = g_timeout_add(AGENT_CALL_MS, call_is_late, call);
    g_hash_table_insert(agent->calls, call->id, call);
    send_to_all(agent, json_pack("{s:s, s:s, s:s, s:s, s:o}", "t", "call", "to", node, "id",
                                 call->id, "op", op, "args", args));
}

typedef struct {
    Agent *agent;
    char *to;
    char *id;
} Answer;

static void answered(json_t *result, const GError *error, gpointer data)
{
    g_autofree Answer *answer = data;
    json_t *failure = error == NULL ? json_null()
                                    : json_pack("{s:i, s:s}", "code", error->code, "message",
                                                error->message);
    send_to_all(answer->agent,
                json_pack("{s:s, s:s, s:s, s:o, s:O}", "t", "reply", "to", answer->to, "id",
                          answer->id, "error", failure, "result",
                          result != NULL ? result : json_null()));
    g_free(answer->to);
    g_free(answer->id);
}

static void handle_call(Agent *agent, const char *from, json_t *json)
{
    if (text(json, "id") == NULL) {
        g_warning("a call from %s cannot be answered: it has no id", from);
        return;
    }
    Answer *answer = g_new(Answer, 1);
    *answer = (Answer){
        .agent = agent, .to = g_strdup(from), .id = g_strdup(text(json, "id"))};
    agent_calls_serve(agent, text(json, "op"), json_object_get(json, "args"), answered, answer);
}

static void handle_reply(Agent *agent, json_t *json)
{
    g_autoptr(GError) error = NULL;
    const char *id = text(json, "id");
    Call *call = agent->calls != NULL && id != NULL ? g_hash_table_lookup(agent->calls, id) : NULL;
    if (call == NULL)
        return;
    json_t *failure = json_object_get(json, "error");
    if (json_is_object(failure))
        error = g_error_new_literal(
            AGENT_ERROR, (int)json_integer_value(json_object_get(failure, "code")),
            text(failure, "message") != NULL ? text(failure, "message") : "no reason given");
    call_ends(call, error == NULL ? json_object_get(json, "result") : NULL, error);
}

static void fail_calls_to(Agent *agent, const char *node)
{
    if (agent->calls == NULL)
        return;
    g_autoptr(GList) all = g_hash_table_get_values(agent->calls);
    for (GList *item = all; item != NULL; item = item->next) {
        Call *call = item->data;
        if (strcmp(call->node, node) != 0)
            continue;
        g_autoptr(GError) error = g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                                              "%s: its vmferryd left the cluster", node);
        call_ends(call, NULL, error);
    }
}

// --- the rest ---

void agent_messages_send_status(Agent *agent, json_t *status)
{
    json_object_set_new(status, "t", json_string("status"));
    agent_outbox_add(agent->outbox, status);
}

void agent_messages_send_event(Agent *agent, json_t *event)
{
    agent_outbox_add(agent->outbox, json_pack("{s:s, s:O}", "t", "event", "event", event));
}

void agent_messages_send_job(Agent *agent, json_t *job)
{
    agent_outbox_add(agent->outbox, json_pack("{s:s, s:O}", "t", "job", "job", job));
}

static void dispatch(Agent *agent, const char *from, json_t *message)
{
    const char *kind = text(message, "t");
    const char *to = text(message, "to");
    bool from_us = strcmp(from, agent->name) == 0;
    if (kind == NULL || (to != NULL && strcmp(to, agent->name) != 0))
        return;
    if (strcmp(kind, "move") == 0)
        handle_move(agent, from, message);
    else if (strcmp(kind, "call") == 0)
        handle_call(agent, from, message);
    else if (strcmp(kind, "reply") == 0)
        handle_reply(agent, message);
    else if (strcmp(kind, "status") == 0)
        agent_status_received(agent, from, message);
    else if (strcmp(kind, "event") == 0 && !from_us)
        agent_events_add_remote(agent->events, json_object_get(message, "event"));
    else if (strcmp(kind, "job") == 0 && !from_us)
        agent_jobs_update_remote(agent->jobs, json_object_get(message, "job"));
}

static void on_message(const char *from, json_t *message, gpointer data)
{
    Agent *agent = data;
    if (agent->ready)
        dispatch(agent, from, message);
    else
        g_queue_push_tail(&agent->deferred,
                          json_pack("{s:s, s:O}", "from", from, "message", message));
}

void agent_messages_flush(Agent *agent)
{
    json_t *deferred;
    while ((deferred = g_queue_pop_head(&agent->deferred)) != NULL) {
        const char *from = text(deferred, "from");
        if (agent_cluster_has(agent->cluster, from))
            dispatch(agent, from, json_object_get(deferred, "message"));
        json_decref(deferred);
    }
}

// --- membership ---

static void on_joined(const char *node, gpointer data)
{
    Agent *agent = data;
    g_info("agent of %s joined", node);
    agent_status_changed(agent);
    agent_vm_check_rights(agent);
    if (agent->ready)
        agent_vm_settle_adopted(agent);
}

static void tell_moves(Agent *agent, const char *node, AgentLeftReason reason)
{
    g_autoptr(GList) all = g_hash_table_get_values(agent->vms);
    FerryPeerLoss loss =
        reason == AGENT_LEFT_NODE ? FERRY_PEER_NODE_LEFT : FERRY_PEER_PROCESS_LEFT;
    for (GList *item = all; item != NULL; item = item->next) {
        AgentVm *vm = item->data;
        const char *peer = vm->out != NULL ? agent_move_out_peer(vm->out) : NULL;
        const char *source = vm->in != NULL ? agent_move_in_source(vm->in) : NULL;
        if (peer != NULL && strcmp(peer, node) == 0)
            agent_move_out_peer_left(vm->out, loss);
        else if (source != NULL && strcmp(source, node) == 0)
            agent_move_in_peer_left(vm->in);
    }
}

static void forget_node(Agent *agent, const char *node, AgentLeftReason reason)
{
    agent_status_forget(agent, node);
    agent_jobs_node_lost(agent->jobs, node);
    fail_calls_to(agent, node);
    tell_moves(agent, node, reason);
}

static void on_left(const char *node, AgentLeftReason reason, gpointer data)
{
    Agent *agent = data;
    bool lost = reason == AGENT_LEFT_NODE;
    if (strcmp(node, agent->name) == 0)
        return;
    agent_events_add(agent->events, "warning", lost ? "node.lost" : "node.agent-left", NULL,
                     json_pack("{s:s}", "lost", node), "%s: %s", node,
                     lost ? "the node left the cluster" : "its vmferryd ended");
    gint64 now_ms = g_get_real_time() / 1000;
    if (lost)
        g_hash_table_replace(agent->lost, g_strdup(node), g_memdup2(&now_ms, sizeof now_ms));
    forget_node(agent, node, reason);
    agent_vm_check_rights(agent);
}

static void on_quorum(bool quorate, gpointer data)
{
    Agent *agent = data;
    if (!agent->adopting)
        return;
    agent_events_add(agent->events, quorate ? "info" : "error",
                     quorate ? "cluster.quorum" : "cluster.no-quorum", NULL, NULL,
                     quorate ? "%s has quorum" : "%s has lost quorum", agent->name);
}

// Who left meanwhile is not told when corosync is back: of all other nodes nothing is known.
static void on_lost(gpointer data)
{
    Agent *agent = data;
    g_warning("corosync went away");
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer node;
    g_hash_table_iter_init(&iter, agent->peers);
    while (g_hash_table_iter_next(&iter, &node, NULL))
        if (strcmp(node, agent->name) != 0)
            g_ptr_array_add(names, g_strdup(node));
    for (guint i = 0; i < names->len; i++)
        forget_node(agent, g_ptr_array_index(names, i), AGENT_LEFT_NODE);
}

static void on_connected(gpointer data)
{
    agent_connected(data);
}

const AgentClusterEvents agent_messages_cluster_events = {
    .message = on_message,
    .joined = on_joined,
    .left = on_left,
    .quorum = on_quorum,
    .lost = on_lost,
    .connected = on_connected,
};
