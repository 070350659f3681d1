// SPDX-License-Identifier: GPL-2.0-or-later
// The node that is asked: it asks all, answers once, and what comes late or never harms nobody.
#include "agent/doctor.h"
#include "agent/doctor_collect.h"
#include "agent/doctor_facts.h"
#include "agent/messages.h"

enum { SHORT_MS = 50, CALLS_MAX = 8 };

// --- the agent's other parts ---

typedef struct {
    char *node, *op;
    AgentReplyFn reply; // NULL: it was answered
    gpointer data;
} Kept;

static Kept calls[CALLS_MAX];
static guint n_calls;
static bool connected;
static guint waited_ms;

guint __real_g_timeout_add(guint ms, GSourceFunc function, gpointer data);
guint __wrap_g_timeout_add(guint ms, GSourceFunc function, gpointer data);
guint __wrap_g_timeout_add(guint ms, GSourceFunc function, gpointer data)
{
    waited_ms = ms;
    return __real_g_timeout_add(SHORT_MS, function, data);
}

void agent_messages_call(Agent *agent, const char *node, const char *op, json_t *args,
                         AgentReplyFn reply, gpointer data)
{
    (void)agent;
    json_decref(args);
    if (g_str_equal(node, "gone")) { // as where its vmferryd is not in the group: at once
        g_autoptr(GError) error =
            g_error_new(AGENT_ERROR, AGENT_ERROR_UNAVAILABLE, "gone: its vmferryd is not there");
        reply(NULL, error, data);
        return;
    }
    g_assert_cmpuint(n_calls, <, CALLS_MAX);
    calls[n_calls++] = (Kept){g_strdup(node), g_strdup(op), reply, data};
}

bool agent_cluster_connected(const AgentCluster *cluster)
{
    (void)cluster;
    return connected;
}

json_t *agent_cluster_nodes(const AgentCluster *cluster)
{
    (void)cluster;
    return json_pack("[{s:s}, {s:s}]", "name", "n1", "name", "n2");
}

bool agent_pacemaker_connected(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    return true;
}

json_t *agent_pacemaker_facts(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    return json_pack("{s:[s, s], s:[{s:s, s:s}], s:{}}", "nodes", "n1", "gone", "vms", "name",
                     "web", "definition", "{", "properties");
}

void doctor_collect(Agent *agent, DoctorCollected done, gpointer data)
{
    (void)agent, (void)done, (void)data;
    g_assert_not_reached();
}

// --- the admin ---

static json_t *report;
static GError *refused;
static guint replies;

static void on_reply(json_t *result, const GError *error, gpointer data)
{
    (void)data;
    replies++;
    report = json_incref(result);
    refused = error != NULL ? g_error_copy(error) : NULL;
}

static void set_up(void)
{
    connected = true;
    n_calls = replies = 0;
}

static void tear_down(void)
{
    for (guint i = 0; i < n_calls; i++) {
        g_assert_null(calls[i].reply);
        g_free(calls[i].node);
        g_free(calls[i].op);
    }
    json_decref(g_steal_pointer(&report));
    g_clear_error(&refused);
}

static void answer(const char *node, const char *op)
{
    json_t *result = g_str_equal(op, "clock")
                         ? json_pack("{s:I}", "now_us", (json_int_t)g_get_real_time())
                         : json_pack("{s:{s:s}}", "sbd", "problem", "because");
    for (guint i = 0; i < n_calls; i++) {
        if (!g_str_equal(calls[i].node, node) || !g_str_equal(calls[i].op, op))
            continue;
        AgentReplyFn reply = calls[i].reply;
        calls[i].reply = NULL;
        reply(result, NULL, calls[i].data);
    }
    json_decref(result);
}

// What was seen of NODE by the rule ID: all of it, ";" behind each.
static char *seen(const char *id, const char *node)
{
    GString *all = g_string_new(NULL);
    size_t index;
    json_t *finding;
    json_array_foreach (json_object_get(report, "findings"), index, finding)
        if (g_strcmp0(doctor_text(finding, "id"), id) == 0 &&
            g_strcmp0(doctor_text(finding, "node"), node) == 0)
            g_string_append_printf(all, "%s;", doctor_text(finding, "seen"));
    return g_string_free(all, FALSE);
}

static Agent *ask(void)
{
    Agent *agent = g_new0(Agent, 1);
    agent->name = (char *)"n1";
    agent_service_doctor(agent, on_reply, NULL);
    return agent;
}

static void test_answers(void)
{
    set_up();
    g_autofree Agent *agent = ask();
    g_assert_cmpuint(n_calls, ==, 4);
    g_assert_cmpstr(calls[0].op, ==, "clock"); // before anybody is busy
    g_assert_cmpstr(calls[1].op, ==, "clock");
    g_assert_cmpuint(waited_ms, ==, DOCTOR_WAIT_MS);
    answer("n2", "clock");
    answer("n1", "inspect");
    answer("n1", "clock");
    g_assert_cmpuint(replies, ==, 0);
    answer("n2", "inspect");
    g_assert_cmpuint(replies, ==, 1);
    g_autofree char *of_n1 = seen("not-looked-at", "n1");
    g_autofree char *gone = seen("not-looked-at", "gone");
    g_autofree char *clock = seen("clock-apart", "n2");
    g_autofree char *definition = seen("vm-definition", NULL);
    g_assert_nonnull(strstr(of_n1, "sbd: because;"));
    g_assert_cmpstr(gone, ==, "gone: its vmferryd is not there;");
    g_assert_cmpstr(clock, ==, "");
    g_assert_cmpuint(strlen(definition), >, 0);
    tear_down();
}

static void test_silent_node(void)
{
    set_up();
    g_autofree Agent *agent = ask();
    answer("n1", "clock");
    answer("n1", "inspect");
    answer("n2", "clock");
    while (replies == 0)
        g_main_context_iteration(NULL, TRUE);
    g_autofree char *of_n2 = seen("not-looked-at", "n2");
    g_assert_cmpstr(of_n2, ==, "its vmferryd does not answer;");
    answer("n2", "inspect"); // too late
    g_assert_cmpuint(replies, ==, 1);
    tear_down();
}

static void test_no_corosync(void)
{
    set_up();
    connected = false;
    g_autofree Agent *agent = ask();
    g_assert_cmpuint(replies, ==, 1);
    g_assert_error(refused, AGENT_ERROR, AGENT_ERROR_UNAVAILABLE);
    g_assert_cmpuint(n_calls, ==, 0);
    tear_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/doctor/answers", test_answers);
    g_test_add_func("/doctor/silent-node", test_silent_node);
    g_test_add_func("/doctor/no-corosync", test_no_corosync);
    return g_test_run();
}
