// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/pacemaker.h"
#include "agent/cib_xml.h"
#include "agent/pacemaker_tool.h"
#include <crm/cib.h>
#include <crm/common/ipc.h>
#include <crm/common/ipc_controld.h>
#include <crm/common/logging.h>
#include <crm/common/results.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define RECONNECT_S 1
#define COALESCE_MS 50
// Pacemaker 2.1 has it as T_CIB_DIFF_NOTIFY, 3.0 under an internal name.
#define DIFF_NOTIFY "cib_diff_notify"

struct AgentPacemaker {
    AgentPacemakerEvents events;
    gpointer data;
    cib_t *cib;            // NULL while not signed on
    CibSnapshot *snapshot; // the last one seen, kept over a loss
    bool connected;        // a snapshot came over this connection
    bool querying, stale;  // a query is under way; something has changed since it was sent
    guint connect_source, query_source, lost_source, changed_source;
    GHashTable *operations; // set of Operation
};

// libcib's notification and loss callbacks carry no user data of ours.
static AgentPacemaker *the_pacemaker;

// Operations --------------------------------------------------------------------------------------

typedef enum {
    STEP_CREATE, // XML within a section of the CIB
    STEP_MODIFY,
    STEP_REMOVE, // what the XPath finds
    STEP_TOOL,   // a program's arguments
} StepKind;

typedef struct {
    StepKind kind;
    const char *section;
    xmlDoc *xml;
    char *xpath;
    char **args;
    int also_fine; // the program's exit code that is as good as 0
} Step;

// What a caller asked for: steps one after the other, or a request to the controller.
typedef struct {
    AgentPacemaker *pacemaker;
    AgentPacemakerDone done;
    gpointer data;
    char *what; // "vm1: create", for messages
    GQueue steps;
    bool in_cib;
    PacemakerTool *tool;
    pcmk_ipc_api_t *controller;
    guint timer, finish_source;
    GError *error;
} Operation;

static void step_free(gpointer data)
{
    Step *step = data;

    if (step->xml)
        xmlFreeDoc(step->xml);
    g_free(step->xpath);
    g_strfreev(step->args);
    g_free(step);
}

static void operation_free(gpointer data)
{
    Operation *operation = data;

    g_queue_clear_full(&operation->steps, step_free);
    pacemaker_tool_free(operation->tool);
    if (operation->controller) {
        pcmk_register_ipc_callback(operation->controller, NULL, NULL);
        pcmk_free_ipc_api(operation->controller);
    }
    if (operation->timer)
        g_source_remove(operation->timer);
    if (operation->finish_source)
        g_source_remove(operation->finish_source);
    g_clear_error(&operation->error);
    g_free(operation->what);
    g_free(operation);
}

static void tell(const Operation *operation)
{
    if (operation->done)
        operation->done(operation->error, operation->data);
    else if (operation->error)
        g_warning("%s: %s", operation->what, operation->error->message);
}

static gboolean report(gpointer data)
{
    Operation *operation = data;

    operation->finish_source = 0;
    g_hash_table_steal(operation->pacemaker->operations, operation);
    tell(operation);
    operation_free(operation);
    return G_SOURCE_REMOVE;
}

// Takes ERROR, NULL for success. The report comes from a source of its own: inside a callback of
// libcib or of the controller's connection neither could be freed.
static void finish(Operation *operation, GError *error)
{
    if (operation->finish_source) {
        g_clear_error(&error);
        return;
    }
    if (error)
        g_propagate_prefixed_error(&operation->error, error, "%s: ", operation->what);
    operation->finish_source = g_idle_add(report, operation);
}

static GError *cib_error(int result)
{
    AgentErrorCode code = AGENT_ERROR_FAILED;

    switch (-result) {
    case EEXIST:
    case ENOTUNIQ:
        return g_error_new(AGENT_ERROR, AGENT_ERROR_CONFLICT,
                           "the cluster's configuration has an element of this name already");
    case ENXIO:
    case ENOENT:
        code = AGENT_ERROR_NOT_FOUND;
        break;
    case pcmk_err_schema_validation:
        code = AGENT_ERROR_INVALID;
        break;
    case pcmk_err_no_quorum:
    case ENOTCONN:
    case ECOMM:
    case EREMOTEIO:
        code = AGENT_ERROR_UNAVAILABLE;
        break;
    case ETIME:
    case ETIMEDOUT:
        code = AGENT_ERROR_TIMEOUT;
        break;
    default:
        break;
    }
    return g_error_new(AGENT_ERROR, code, "Pacemaker's CIB: %s", pcmk_strerror(result));
}

static GError *not_connected(void)
{
    return g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                       "this node is not connected to Pacemaker; is pacemaker.service running?");
}

static void run_next(Operation *operation);

static void on_tool_done(int status, const GError *error, gpointer data)
{
    Operation *operation = data;
    Step *step = g_queue_pop_head(&operation->steps);
    bool fine = !error || status == step->also_fine;

    operation->tool = NULL;
    step_free(step);
    if (fine)
        run_next(operation);
    else
        finish(operation, g_error_copy(error));
}

static void run_tool(Operation *operation, const Step *step)
{
    GError *error = NULL;

    operation->tool = pacemaker_tool_run((const char *const *)step->args, AGENT_TOOL_S,
                                         on_tool_done, operation, &error);
    if (!operation->tool)
        finish(operation, error);
}

static void on_step_done(xmlNode *message, int call, int result, xmlNode *output, void *data)
{
    Operation *operation = data;
    Step *step = g_queue_pop_head(&operation->steps);
    // Another has removed it already: the wish is fulfilled.
    bool gone = step->kind == STEP_REMOVE && result == -ENXIO;

    (void)message;
    (void)call;
    (void)output;
    operation->in_cib = false;
    step_free(step);
    if (result < 0 && !gone)
        finish(operation, cib_error(result));
    else
        run_next(operation);
}

static int send_step(cib_t *cib, const Step *step)
{
    xmlNode *root = step->xml ? xmlDocGetRootElement(step->xml) : NULL;

    if (step->kind == STEP_CREATE)
        return cib->cmds->create(cib, step->section, root, cib_none);
    if (step->kind == STEP_MODIFY)
        return cib->cmds->modify(cib, step->section, root, cib_none);
    return cib->cmds->remove(cib, step->xpath, NULL, cib_xpath | cib_multiple);
}

// Why the CIB must not be written now, NULL for nothing. A minority's CIB takes writes too, and the
// majority's replaces it, or the other way round, when they meet again.
static GError *why_not_write(const AgentPacemaker *pacemaker)
{
    if (!pacemaker->connected)
        return not_connected();
    if (!json_is_true(json_object_get(pacemaker->snapshot->cluster, "have_quorum")))
        return g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                           "this part of the cluster has no quorum");
    return NULL;
}

static void run_cib(Operation *operation, const Step *step)
{
    AgentPacemaker *pacemaker = operation->pacemaker;
    GError *error = why_not_write(pacemaker);
    int call;

    if (error) {
        finish(operation, error);
        return;
    }
    call = send_step(pacemaker->cib, step);
    if (call <= 0) {
        finish(operation, cib_error(call));
        return;
    }
    operation->in_cib = true;
    pacemaker->cib->cmds->register_callback_full(pacemaker->cib, call, AGENT_CIB_S, FALSE,
                                                 operation, "vmferry step", on_step_done, NULL);
}

static void run_next(Operation *operation)
{
    const Step *step = g_queue_peek_head(&operation->steps);

    if (!step)
        finish(operation, NULL);
    else if (step->kind == STEP_TOOL)
        run_tool(operation, step);
    else
        run_cib(operation, step);
}

static Operation *operation_new(AgentPacemaker *pacemaker, const char *what, const char *subject,
                                AgentPacemakerDone done, gpointer data)
{
    Operation *operation = g_new0(Operation, 1);

    operation->pacemaker = pacemaker;
    operation->done = done;
    operation->data = data;
    operation->what = g_strdup_printf("%s: %s", subject, what);
    g_queue_init(&operation->steps);
    g_hash_table_add(pacemaker->operations, operation);
    return operation;
}

// Whether the operation can go ahead; else it has been finished with the reason. XPaths and XML ids
// are made of the names.
static bool check(Operation *operation, const char *name)
{
    if (!cib_xml_name_valid(name)) {
        finish(operation,
               g_error_new(AGENT_ERROR, AGENT_ERROR_INVALID,
                           "the name has to be a letter, then letters, digits, '.', '_', '-', at "
                           "most 64 in all"));
        return false;
    }
    if (!operation->pacemaker->connected) {
        finish(operation, not_connected());
        return false;
    }
    return true;
}

// Whether the VM is in the CIB; else the operation has been finished.
static bool check_known(Operation *operation, const char *name)
{
    if (!check(operation, name))
        return false;
    if (g_hash_table_contains(operation->pacemaker->snapshot->resource_ids, name))
        return true;
    finish(operation, g_error_new(AGENT_ERROR, AGENT_ERROR_NOT_FOUND,
                                  "no VM of this name in the cluster's configuration"));
    return false;
}

static Step *add_step(Operation *operation, StepKind kind)
{
    Step *step = g_new0(Step, 1);

    step->kind = kind;
    g_queue_push_tail(&operation->steps, step);
    return step;
}

// Takes XPATH.
static void add_remove(Operation *operation, char *xpath)
{
    add_step(operation, STEP_REMOVE)->xpath = xpath;
}

// The last step, and off it goes. Takes XML, which may be NULL for the reason in ERROR.
static void run_xml(Operation *operation, StepKind kind, const char *section, xmlDoc *xml,
                    GError *error)
{
    Step *step;

    if (!xml) {
        finish(operation, error);
        return;
    }
    step = add_step(operation, kind);
    step->section = section;
    step->xml = xml;
    run_next(operation);
}

void agent_pacemaker_create(AgentPacemaker *pacemaker, const char *name, const char *definition,
                            bool started, bool movable, AgentPacemakerDone done, gpointer data)
{
    Operation *operation = operation_new(pacemaker, "create the resource", name, done, data);
    GError *error = NULL;

    if (check(operation, name)) {
        xmlDoc *xml = cib_xml_primitive(name, definition, started, movable, &error);

        run_xml(operation, STEP_CREATE, "resources", xml, error);
    }
}

void agent_pacemaker_set_definition(AgentPacemaker *pacemaker, const char *name,
                                    const char *definition, AgentPacemakerDone done, gpointer data)
{
    Operation *operation = operation_new(pacemaker, "change the definition", name, done, data);
    GError *error = NULL;

    if (check_known(operation, name)) {
        xmlDoc *xml = cib_xml_set_definition(pacemaker->snapshot, name, definition, &error);

        run_xml(operation, STEP_MODIFY, "resources", xml, error);
    }
}

void agent_pacemaker_set_role(AgentPacemaker *pacemaker, const char *name, bool started,
                              AgentPacemakerDone done, gpointer data)
{
    Operation *operation = operation_new(pacemaker, "set the target role", name, done, data);
    GError *error = NULL;

    if (check_known(operation, name)) {
        xmlDoc *xml = cib_xml_set_role(pacemaker->snapshot, name, started, &error);

        run_xml(operation, STEP_MODIFY, "resources", xml, error);
    }
}

void agent_pacemaker_set_epoch(AgentPacemaker *pacemaker, const char *name, uint64_t epoch,
                               AgentPacemakerDone done, gpointer data)
{
    Operation *operation = operation_new(pacemaker, "note the epoch", name, done, data);
    GError *error = NULL;

    if (check_known(operation, name)) {
        xmlDoc *xml = cib_xml_set_epoch(pacemaker->snapshot, name, epoch, &error);

        run_xml(operation, STEP_MODIFY, "resources", xml, error);
    }
}

uint64_t agent_pacemaker_epoch(const AgentPacemaker *pacemaker, const char *name)
{
    return pacemaker->snapshot ? cib_snapshot_epoch(pacemaker->snapshot, name) : 0;
}

void agent_pacemaker_set_standby(AgentPacemaker *pacemaker, const char *node, bool standby,
                                 AgentPacemakerDone done, gpointer data)
{
    Operation *operation = operation_new(pacemaker, "set standby", node, done, data);
    GError *error = NULL;

    if (!pacemaker->connected) {
        finish(operation, not_connected());
    } else {
        xmlDoc *xml = cib_xml_set_standby(pacemaker->snapshot, node, standby, &error);

        run_xml(operation, STEP_MODIFY, "nodes", xml, error);
    }
}

// The controllers and the attribute manager keep history and failures in memory too, and requests
// to forget them are not public in both releases. crm_resource's options are.
static void add_forget(Operation *operation, const char *option, const char *name)
{
    const char *const args[] = {"crm_resource", option, "--resource", name, NULL};
    Step *step = add_step(operation, STEP_TOOL);

    step->args = g_strdupv((char **)args);
    step->also_fine = CRM_EX_NOSUCH;
}

void agent_pacemaker_delete(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                            gpointer data)
{
    Operation *operation = operation_new(pacemaker, "delete the resource", name, done, data);

    if (!check_known(operation, name))
        return;
    // The constraints first: a reference to a missing resource does not validate.
    add_remove(operation, cib_xpath_constraints(name));
    add_remove(operation, cib_xpath_primitive(name));
    // It finds a removed resource by the history that is left, on nodes that are up; the history of
    // the others is only in the CIB.
    add_forget(operation, "--refresh", name);
    add_remove(operation, cib_xpath_history(name));
    run_next(operation);
}

void agent_pacemaker_cleanup(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                             gpointer data)
{
    Operation *operation = operation_new(pacemaker, "clean up", name, done, data);

    if (!check_known(operation, name))
        return;
    add_forget(operation, "--cleanup", name);
    run_next(operation);
}

void agent_pacemaker_refresh(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                             gpointer data)
{
    Operation *operation = operation_new(pacemaker, "refresh", name, done, data);

    if (!check_known(operation, name))
        return;
    add_forget(operation, "--refresh", name);
    run_next(operation);
}

void agent_pacemaker_prefer(AgentPacemaker *pacemaker, const char *name, const char *node,
                            const char *owner, unsigned lifetime_s, AgentPacemakerDone done,
                            gpointer data)
{
    Operation *operation = operation_new(pacemaker, "prefer a node", name, done, data);
    gint64 until = g_get_real_time() / G_USEC_PER_SEC + lifetime_s;

    if (!check_known(operation, name))
        return;
    if (!g_hash_table_contains(pacemaker->snapshot->node_ids, node)) {
        finish(operation, g_error_new(AGENT_ERROR, AGENT_ERROR_NOT_FOUND,
                                      "%s is not a node of this cluster", node));
        return;
    }
    // One left by a move that was not cleaned up, perhaps with another owner's id inside.
    add_remove(operation, cib_xpath_preference(name));
    run_xml(operation, STEP_CREATE, "constraints", cib_xml_preference(name, node, owner, until),
            NULL);
}

void agent_pacemaker_unprefer(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                              gpointer data)
{
    Operation *operation = operation_new(pacemaker, "stop preferring a node", name, done, data);

    if (!check(operation, name))
        return;
    add_remove(operation, cib_xpath_preference(name));
    run_next(operation);
}

void agent_pacemaker_hold(AgentPacemaker *pacemaker, const char *name, unsigned lifetime_s,
                          AgentPacemakerDone done, gpointer data)
{
    Operation *operation = operation_new(pacemaker, "hold the resource", name, done, data);
    gint64 until = g_get_real_time() / G_USEC_PER_SEC + lifetime_s;

    if (check_known(operation, name))
        run_xml(operation, STEP_MODIFY, "resources", cib_xml_hold(name, until), NULL);
}

void agent_pacemaker_let_go(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                            gpointer data)
{
    Operation *operation = operation_new(pacemaker, "let go of the resource", name, done, data);

    if (!check_known(operation, name))
        return;
    add_remove(operation, cib_xpath_hold(name));
    run_next(operation);
}

// Reporting a failure -----------------------------------------------------------------------------

static void on_controller(pcmk_ipc_api_t *api, enum pcmk_ipc_event event, crm_exit_t status,
                          void *event_data, void *data)
{
    Operation *operation = data;

    (void)api;
    (void)event_data;
    if (event == pcmk_ipc_event_reply)
        finish(operation, status == CRM_EX_OK
                              ? NULL
                              : g_error_new(AGENT_ERROR, AGENT_ERROR_FAILED,
                                            "Pacemaker's controller: %s", crm_exit_str(status)));
    else if (event == pcmk_ipc_event_disconnect)
        finish(operation, g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                                      "Pacemaker's controller closed the connection"));
}

static gboolean on_controller_timeout(gpointer data)
{
    Operation *operation = data;

    operation->timer = 0;
    finish(operation,
           g_error_new(AGENT_ERROR, AGENT_ERROR_TIMEOUT,
                       "Pacemaker's controller did not answer within %d s", AGENT_CONTROLLER_S));
    return G_SOURCE_REMOVE;
}

// A connection of its own for each request: replies say nothing of which request they answer.
static int send_failure(Operation *operation, const char *name, const char *node)
{
    int result = pcmk_new_ipc_api(&operation->controller, pcmk_ipc_controld);

    if (result != pcmk_rc_ok)
        return result;
    pcmk_register_ipc_callback(operation->controller, on_controller, operation);
    result = pcmk_connect_ipc(operation->controller, pcmk_ipc_dispatch_main);
    if (result != pcmk_rc_ok)
        return result;
    return pcmk_controld_api_fail(operation->controller, node, NULL, name, NULL, "ocf", "vmferry",
                                  "VirtualMachine");
}

static bool node_online(const AgentPacemaker *pacemaker, const char *node)
{
    size_t i;
    json_t *entry;

    json_array_foreach(pacemaker->snapshot->nodes, i,
                       entry) if (strcmp(json_string_value(json_object_get(entry, "name")), node) ==
                                  0) return json_is_true(json_object_get(entry, "online"));
    return false;
}

void agent_pacemaker_fail(AgentPacemaker *pacemaker, const char *name, const char *node,
                          AgentPacemakerDone done, gpointer data)
{
    Operation *operation = operation_new(pacemaker, "report the failure", name, done, data);
    int result;

    if (!check_known(operation, name))
        return;
    if (!node_online(pacemaker, node)) {
        finish(operation, g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                                      "Pacemaker does not have node %s online", node));
        return;
    }
    result = send_failure(operation, name, node);
    if (result != pcmk_rc_ok)
        finish(operation, g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                                      "Pacemaker's controller: %s", pcmk_rc_str(result)));
    else
        operation->timer =
            g_timeout_add_seconds(AGENT_CONTROLLER_S, on_controller_timeout, operation);
}

// Following the CIB -------------------------------------------------------------------------------

static void query(AgentPacemaker *pacemaker);

static gboolean query_now(gpointer data)
{
    AgentPacemaker *pacemaker = data;

    pacemaker->query_source = 0;
    query(pacemaker);
    return G_SOURCE_REMOVE;
}

// Many changes come together (a transition writes one for each action): one query for all of them.
static void query_soon(AgentPacemaker *pacemaker)
{
    if (pacemaker->querying)
        pacemaker->stale = true;
    else if (!pacemaker->query_source)
        pacemaker->query_source = g_timeout_add(COALESCE_MS, query_now, pacemaker);
}

static gboolean on_lost(gpointer data);

static void lose_later(AgentPacemaker *pacemaker)
{
    if (!pacemaker->lost_source)
        pacemaker->lost_source = g_idle_add(on_lost, pacemaker);
}

static gboolean notify_changed(gpointer data)
{
    AgentPacemaker *pacemaker = data;

    pacemaker->changed_source = 0;
    pacemaker->events.changed(pacemaker->data);
    return G_SOURCE_REMOVE;
}

static void on_query_done(xmlNode *message, int call, int result, xmlNode *output, void *data)
{
    AgentPacemaker *pacemaker = data;
    g_autoptr(GError) error = NULL;
    CibSnapshot *snapshot = result == pcmk_ok ? cib_snapshot_parse(output, &error) : NULL;

    (void)message;
    (void)call;
    pacemaker->querying = false;
    if (!snapshot) {
        g_debug("CIB: query: %s", error ? error->message : pcmk_strerror(result));
        lose_later(pacemaker);
        return;
    }
    cib_snapshot_free(pacemaker->snapshot);
    pacemaker->snapshot = snapshot;
    pacemaker->connected = true;
    if (pacemaker->stale)
        query_soon(pacemaker);
    // Not from within libcib: the reader may free everything.
    if (!pacemaker->changed_source)
        pacemaker->changed_source = g_idle_add(notify_changed, pacemaker);
}

static void query(AgentPacemaker *pacemaker)
{
    int call = pacemaker->cib->cmds->query(pacemaker->cib, NULL, NULL, cib_none);

    if (call <= 0) {
        lose_later(pacemaker);
        return;
    }
    pacemaker->querying = true;
    pacemaker->stale = false;
    pacemaker->cib->cmds->register_callback_full(pacemaker->cib, call, AGENT_CIB_S, FALSE,
                                                 pacemaker, "vmferry query", on_query_done, NULL);
}

static void on_diff(const char *event, xmlNode *message)
{
    (void)event;
    (void)message;
    if (the_pacemaker)
        query_soon(the_pacemaker);
}

static void on_cib_destroyed(gpointer cib)
{
    if (the_pacemaker && the_pacemaker->cib == cib)
        lose_later(the_pacemaker);
}

// Connecting --------------------------------------------------------------------------------------

static void clear_source(guint *source)
{
    if (*source)
        g_source_remove(*source);
    *source = 0;
}

static void sign_off(AgentPacemaker *pacemaker)
{
    cib_t *cib = g_steal_pointer(&pacemaker->cib);

    clear_source(&pacemaker->query_source);
    clear_source(&pacemaker->lost_source);
    clear_source(&pacemaker->changed_source);
    pacemaker->connected = pacemaker->querying = pacemaker->stale = false;
    if (!cib)
        return;
    cib->cmds->signoff(cib);
    cib_delete(cib);
}

// libcib drops the callbacks of a lost connection without calling them.
static void fail_cib_operations(AgentPacemaker *pacemaker)
{
    GHashTableIter iterator;
    gpointer key;

    g_hash_table_iter_init(&iterator, pacemaker->operations);
    while (g_hash_table_iter_next(&iterator, &key, NULL)) {
        Operation *operation = key;

        if (operation->in_cib)
            finish(operation,
                   g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                               "the connection to Pacemaker was lost before it answered; whether "
                               "it was done will show when it is back"));
        operation->in_cib = false;
    }
}

static bool sign_on(AgentPacemaker *pacemaker)
{
    int result;

    pacemaker->cib = cib_new();
    result = pacemaker->cib->cmds->signon(pacemaker->cib, "vmferryd", cib_command);
    if (result == pcmk_ok)
        result = pacemaker->cib->cmds->set_connection_dnotify(pacemaker->cib, on_cib_destroyed);
    if (result == pcmk_ok)
        result = pacemaker->cib->cmds->add_notify_callback(pacemaker->cib, DIFF_NOTIFY, on_diff);
    if (result == pcmk_ok) {
        query(pacemaker);
        return true;
    }
    g_debug("CIB: not yet: %s", pcmk_strerror(result));
    sign_off(pacemaker);
    return false;
}

static gboolean try_connect(gpointer data)
{
    AgentPacemaker *pacemaker = data;

    if (!sign_on(pacemaker))
        return G_SOURCE_CONTINUE;
    pacemaker->connect_source = 0;
    return G_SOURCE_REMOVE;
}

static gboolean on_lost(gpointer data)
{
    AgentPacemaker *pacemaker = data;
    bool was_connected = pacemaker->connected;

    pacemaker->lost_source = 0;
    sign_off(pacemaker);
    fail_cib_operations(pacemaker);
    if (!pacemaker->connect_source)
        pacemaker->connect_source = g_timeout_add_seconds(RECONNECT_S, try_connect, pacemaker);
    if (was_connected)
        pacemaker->events.changed(pacemaker->data);
    return G_SOURCE_REMOVE;
}

// Pacemaker's libraries need their logging set up (it initializes their XML too), and that takes
// over things of the whole process: GLib's log handlers, its fatal levels, the umask. It is told to
// log nowhere, and what it took is put back.
static void init_library(void)
{
    static bool done;
    GLogLevelFlags fatal;
    GLogFunc handler;
    mode_t mask;

    if (done)
        return;
    done = true;
    mask = umask(077);
    fatal = g_log_set_always_fatal(G_LOG_FATAL_MASK);
    handler = g_log_set_default_handler(g_log_default_handler, NULL);
    crm_log_init("vmferryd", LOG_CRIT, FALSE, FALSE, 0, NULL, TRUE);
    // 3.0 registers handlers for GLib's own domains instead; the newest handler counts.
    g_log_set_handler("GLib", G_LOG_LEVEL_MASK | G_LOG_FLAG_FATAL | G_LOG_FLAG_RECURSION,
                      g_log_default_handler, NULL);
    umask(mask);
    g_log_set_always_fatal(fatal);
    g_log_set_default_handler(handler, NULL);
}

AgentPacemaker *agent_pacemaker_new(const AgentPacemakerEvents *events, gpointer data)
{
    AgentPacemaker *pacemaker = g_new0(AgentPacemaker, 1);

    g_return_val_if_fail(!the_pacemaker, NULL);
    init_library();
    pacemaker->events = *events;
    pacemaker->data = data;
    pacemaker->operations = g_hash_table_new(NULL, NULL);
    the_pacemaker = pacemaker;
    pacemaker->connect_source = g_timeout_add_seconds(RECONNECT_S, try_connect, pacemaker);
    if (sign_on(pacemaker))
        clear_source(&pacemaker->connect_source);
    return pacemaker;
}

// Each caller hears of its operation once, of those that are cut short too.
static void abandon(Operation *operation)
{
    if (!operation->error && !operation->finish_source)
        operation->error = g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE,
                                       "%s: the agent is shutting down", operation->what);
    tell(operation);
    operation_free(operation);
}

void agent_pacemaker_free(AgentPacemaker *pacemaker)
{
    g_autoptr(GList) operations = NULL;

    if (!pacemaker)
        return;
    sign_off(pacemaker);
    clear_source(&pacemaker->connect_source);
    operations = g_hash_table_get_keys(pacemaker->operations);
    g_hash_table_steal_all(pacemaker->operations);
    for (GList *item = operations; item; item = item->next)
        abandon(item->data);
    g_hash_table_unref(pacemaker->operations);
    cib_snapshot_free(pacemaker->snapshot);
    the_pacemaker = NULL;
    g_free(pacemaker);
}

// Getters -----------------------------------------------------------------------------------------

bool agent_pacemaker_connected(const AgentPacemaker *pacemaker)
{
    return pacemaker->connected;
}

bool agent_pacemaker_joined(const AgentPacemaker *pacemaker, const char *node)
{
    size_t index;
    json_t *known;

    json_array_foreach (pacemaker->snapshot ? pacemaker->snapshot->nodes : NULL, index, known)
        if (g_strcmp0(json_string_value(json_object_get(known, "name")), node) == 0)
            return json_is_true(json_object_get(known, "online"));
    return false;
}

json_t *agent_pacemaker_resources(const AgentPacemaker *pacemaker)
{
    return pacemaker->snapshot ? json_deep_copy(pacemaker->snapshot->resources) : json_array();
}

const char *agent_pacemaker_definition(const AgentPacemaker *pacemaker, const char *name)
{
    size_t index;
    json_t *resource;

    if (!pacemaker->snapshot)
        return NULL;
    json_array_foreach (pacemaker->snapshot->resources, index, resource)
        if (g_strcmp0(json_string_value(json_object_get(resource, "name")), name) == 0)
            return json_string_value(json_object_get(resource, "definition"));
    return NULL;
}

json_t *agent_pacemaker_nodes(const AgentPacemaker *pacemaker)
{
    return pacemaker->snapshot ? json_deep_copy(pacemaker->snapshot->nodes) : json_array();
}

json_t *agent_pacemaker_cluster(const AgentPacemaker *pacemaker)
{
    return pacemaker->snapshot ? json_deep_copy(pacemaker->snapshot->cluster) : json_object();
}

json_t *agent_pacemaker_facts(const AgentPacemaker *pacemaker)
{
    return pacemaker->snapshot ? json_incref(pacemaker->snapshot->facts) : NULL;
}

json_t *agent_pacemaker_preferences(const AgentPacemaker *pacemaker)
{
    return pacemaker->snapshot ? json_deep_copy(pacemaker->snapshot->preferences) : json_array();
}

static bool names_node(const json_t *names, const char *name, const char *node)
{
    size_t index;
    json_t *named;

    json_array_foreach (json_object_get(names, name), index, named)
        if (g_strcmp0(json_string_value(named), node) == 0)
            return true;
    return false;
}

bool agent_pacemaker_move_failed(const AgentPacemaker *pacemaker, const char *name,
                                 const char *node)
{
    return pacemaker->snapshot && names_node(pacemaker->snapshot->failed_moves, name, node);
}

bool agent_pacemaker_found(const AgentPacemaker *pacemaker, const char *name, const char *node)
{
    return pacemaker->snapshot && names_node(pacemaker->snapshot->found, name, node);
}
