// SPDX-License-Identifier: GPL-2.0-or-later
// docs/TIMEOUTS.md says which time has to be shorter than which, and why. Here each of these is an
// assertion over the constants of the code, the resource agent's meta-data, what `vmferry define` puts
// into the CIB and vmferryd's unit; and the figures of the document are compared with them.
// Server and client have a struct of one name.
#define HttpRequest CommandHttpRequest
#include "migrate/command/console_open.h"
#include "migrate/command/events.h"
#include "migrate/command/http.h"
#include "migrate/command/job.h"
#undef HttpRequest

#include "agent/agent.h"
#include "agent/api_console.h"
#include "agent/api_events.h"
#include "agent/cib_xml.h"
#include "agent/doctor.h"
#include "agent/doctor_collect.h"
#include "agent/doctor_facts.h"
#include "agent/guest_clock.h"
#include "agent/load.h"
#include "agent/messages.h"
#include "agent/migrate.h"
#include "agent/move_out.h"
#include "agent/qga.h"
#include "agent/quarantine.h"
#include "agent/stay.h"
#include "agent/vm.h"
#include "agent/watch.h"
#include "hvcore/node_kvm.h"
#include "hvcore/vm_private.h"
#include "migrate/convergence.h"
#include "migrate/leash.h"
#include "resource-agents/actions.h"
#include "resource-agents/client.h"
#include "resource-agents/metadata.h"

#include <string.h>

#define S(name) {#name, (gint64)(name) * 1000}
#define MS(name) {#name, name}

// Of other programs: their documented defaults, in ms.
enum {
    TOKEN = 3000 + 650,           // corosync.conf(5), three nodes
    CONSENSUS = TOKEN * 12 / 10,  // corosync.conf(5)
    LEFT = TOKEN + CONSENSUS,     // until a silent node is no member any more
    STONITH_TIMEOUT = 60 * 1000,  // pacemaker-controld(7)
    SBD_WATCHDOG = 5 * 1000,      // sbd(8)
    STONITH_WATCHDOG = 10 * 1000, // as docs/TIMEOUTS.md advises
    REPLACEMENT = 120 * 1000,     // iscsid.conf, node.session.timeo.replacement_timeout
};

typedef struct {
    const char *name;
    gint64 ms;
} Time;

static const Time times[] = {
    S(AGENT_HOUSEKEEPING_S), S(AGENT_HTTP_TIMEOUT_S), S(AGENT_CIB_S), S(AGENT_CONTROLLER_S),
    S(AGENT_TOOL_S), S(AGENT_MIGRATE_LIFETIME_S), S(AGENT_STAY_HOLD_S), S(AGENT_WATCH_START_S),
    S(AGENT_WATCH_STOP_S), S(API_EVENTS_KEEP_ALIVE_S), S(EVENTS_SILENCE_S),
    S(API_CONSOLE_SILENCE_S), S(CONSOLE_IDLE_S), S(CONSOLE_PROBE_S),
    MS(AGENT_CALL_MS), MS(AGENT_MIGRATE_SETTLE_MS), MS(AGENT_STAY_PATIENCE_MS),
    MS(AGENT_MOVE_QUIT_MS), MS(AGENT_LOAD_RECOVER_MS), MS(AGENT_QUARANTINE_AGAIN_MS),
    MS(AGENT_ARRIVAL_MS), MS(AGENT_ADOPT_PATIENCE_MS), MS(DOCTOR_COLLECT_MS), MS(DOCTOR_WAIT_MS),
    MS(QGA_ANSWER_MS), MS(GUEST_CLOCK_REST_MS), MS(GUEST_CLOCK_TOTAL_MS),
    MS(FERRY_REHEARSE_MS), MS(FERRY_READY_MS), MS(FERRY_ASK_AGAIN_MS), MS(FERRY_RETRY_MS),
    MS(FERRY_LOAD_MS), MS(FERRY_PASSES_LIMIT_MS), MS(FERRY_LEASH_MS),
    MS(HV_COMMAND_MS), MS(HV_LAUNCH_MS), MS(HV_ADOPT_MS), MS(HV_ASK_MS), MS(HV_ISCSI_PROBE_MS),
    MS(HV_NODE_VERSION_MS), MS(HV_NODE_TCG_MS), MS(HV_NODE_KVM_MS), MS(QMP_HANDSHAKE_MS),
    MS(CLIENT_GET_MS), MS(CLIENT_JOB_MS), MS(CLIENT_SEND_MS), MS(HTTP_CONNECT_MS),
    MS(JOB_UNREACHABLE_MS), MS(CONSOLE_ANSWER_MS), MS(CONSOLE_SEND_MS),
    MS(CLIENT_HEAD_START_MS), MS(OPERATION_MARGIN_MS), MS(MONITOR_LOOK_MS), MS(STOP_AGENT_WAIT_MS),
    MS(STOP_END_MS), MS(STOP_KILL_MS), MS(STOP_ANSWER_MS),
};

// Both sides in ms; the message has the figures.
#define SHORTER(a, b) \
    g_assert_cmpint((gint64)(a), <, (gint64)(b))

// --- what is not a constant of the code ---

static gint64 parse_ms(const char *text)
{
    static const struct {
        const char *unit;
        gint64 ms;
    } units[] = {{"min", 60000}, {"ms", 1}, {"s", 1000}, {"", 1000}};
    char *end;
    gint64 number = g_ascii_strtoll(text, &end, 10);
    g_assert_true(end != text);
    end += strspn(end, " ");
    size_t length = strspn(end, "abcdefghijklmnopqrstuvwxyz");
    for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
        if (length == strlen(units[i].unit) && strncmp(end, units[i].unit, length) == 0)
            return number * units[i].ms;
    g_error("\"%s\" is no time", text);
}

static xmlNode *find_op(xmlNode *node, const char *name)
{
    for (; node != NULL; node = node->next) {
        xmlChar *found = xmlGetProp(node, BAD_CAST "name");
        bool same = strcmp((const char *)node->name, "op") == 0 &&
                    g_strcmp0((const char *)found, name) == 0;
        xmlFree(found);
        if (same)
            return node;
        xmlNode *below = find_op(node->children, name);
        if (below != NULL)
            return below;
    }
    return NULL;
}

// Of the operation NAME, as `vmferry define` puts it into the CIB.
static gint64 cib_ms(const char *name, const char *attribute)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(xmlDoc) doc = cib_xml_primitive("vm", "{}", true, true, &error);
    g_assert_no_error(error);
    xmlNode *op = find_op(xmlDocGetRootElement(doc), name);
    g_assert_nonnull(op);
    xmlChar *text = xmlGetProp(op, BAD_CAST attribute);
    gint64 ms = parse_ms((const char *)text);
    xmlFree(text);
    return ms;
}

static gint64 op_ms(const char *name)
{
    return cib_ms(name, "timeout");
}

static gint64 unit_ms(const char *key)
{
    g_autofree char *text = NULL;
    g_autofree char *line = g_strdup_printf("\n%s=", key);
    g_assert_true(g_file_get_contents(SOURCE_DIR "/config/vmferryd.service.in", &text, NULL, NULL));
    const char *found = strstr(text, line);
    g_assert_nonnull(found);
    return parse_ms(found + strlen(line));
}

// vmferryd is killed: until its successor answers the resource agent.
static gint64 restart_ms(void)
{
    return unit_ms("RestartSec") + HV_NODE_VERSION_MS + HV_NODE_TCG_MS +
           MAX(3 * HV_NODE_TCG_MS, HV_NODE_KVM_MS) + AGENT_ADOPT_PATIENCE_MS;
}

// What the agent has for a stop, with the timeout that the CIB gets.
static gint64 agent_stop_ms(void)
{
    return op_ms("stop") - STOP_END_MS - CLIENT_HEAD_START_MS;
}

static gint64 stop_share_ms(unsigned from_percent, unsigned to_percent)
{
    return agent_stop_ms() * (to_percent - from_percent) / 100;
}

// --- the inequalities, as docs/TIMEOUTS.md numbers them ---

static void test_pacemaker(void)
{
    static const char *const ops[] = {"start",      "stop",         "monitor",
                                      "migrate_to", "migrate_from", "reload-agent"};
    for (size_t i = 0; i < G_N_ELEMENTS(ops); i++) // P1
        g_assert_cmpint(op_ms(ops[i]), ==, metadata_timeout_ms(ops[i]));
    for (size_t i = 0; i < G_N_ELEMENTS(ops); i++) // P2
        SHORTER(2 * OPERATION_MARGIN_MS, op_ms(ops[i]));
    SHORTER(MONITOR_LOOK_MS, OPERATION_MARGIN_MS);                                     // P3
    SHORTER(AGENT_ARRIVAL_MS, OPERATION_MARGIN_MS);                                    // P4
    SHORTER(HV_ISCSI_PROBE_MS + HV_LAUNCH_MS + 2 * HV_COMMAND_MS,
            op_ms("start") - OPERATION_MARGIN_MS);                                     // P5
    SHORTER(op_ms("start"), AGENT_WATCH_START_S * 1000);                               // P6
    SHORTER(op_ms("stop"), AGENT_WATCH_STOP_S * 1000);
    SHORTER(restart_ms(), STOP_AGENT_WAIT_MS);                                         // P7
    SHORTER(restart_ms(), op_ms("migrate_from") - OPERATION_MARGIN_MS);
}

static void test_move(void)
{
    SHORTER(HV_ISCSI_PROBE_MS + HV_LAUNCH_MS + HV_COMMAND_MS, FERRY_REHEARSE_MS);      // M1
    SHORTER(AGENT_CIB_S * 1000, FERRY_READY_MS);                                       // M2
    SHORTER(FERRY_REHEARSE_MS + FERRY_LEASH_MS + FERRY_PASSES_LIMIT_MS + FERRY_LOAD_MS +
                AGENT_MOVE_QUIT_MS,
            op_ms("migrate_to") - OPERATION_MARGIN_MS);                                // M3
    SHORTER(FERRY_READY_MS + op_ms("migrate_to") + AGENT_MIGRATE_SETTLE_MS,
            AGENT_MIGRATE_LIFETIME_S * 1000);                                          // M4
    SHORTER(LEFT, FERRY_LOAD_MS);                                                      // M5
    SHORTER(LEFT, FERRY_REHEARSE_MS);
    SHORTER(LEFT, AGENT_CALL_MS);
    SHORTER(FERRY_ASK_AGAIN_MS, FERRY_LOAD_MS);                                        // M6
    SHORTER(HV_COMMAND_MS + AGENT_STAY_PATIENCE_MS, AGENT_STAY_HOLD_S * 1000);         // M7
    g_assert_cmpint(QMP_HANDSHAKE_MS, <=, HV_LAUNCH_MS);                               // M8
}

static void test_stop(void)
{
    SHORTER(STOP_KILL_MS + STOP_ANSWER_MS, STOP_END_MS);                               // S1
    SHORTER(3 * HV_ASK_MS, STOP_END_MS - STOP_KILL_MS);                                // S2
    g_assert_cmpint(STOP_KILL_MS, <=, stop_share_ms(AGENT_STOP_KILL_PERCENT, 100));    // S3
    SHORTER(2 * HV_COMMAND_MS, stop_share_ms(AGENT_STOP_SAVE_PERCENT,
                                             AGENT_STOP_KILL_PERCENT));                // S4
    SHORTER(2 * FERRY_PASSES_LIMIT_MS, stop_share_ms(0, AGENT_STOP_SAVE_PERCENT));     // S5
    SHORTER(AGENT_QUARANTINE_TRIES * AGENT_QUARANTINE_AGAIN_MS,
            stop_share_ms(0, AGENT_STOP_KILL_PERCENT));                                // S6
    SHORTER(unit_ms("WatchdogSec") + restart_ms() + STOP_KILL_MS, agent_stop_ms());    // S7
    SHORTER(REPLACEMENT, stop_share_ms(0, AGENT_STOP_SAVE_PERCENT));                   // S8
}

static void test_failure(void)
{
    SHORTER(TOKEN, CONSENSUS);                                                         // F1
    SHORTER(SBD_WATCHDOG, STONITH_WATCHDOG);                                           // F2
    SHORTER(STONITH_WATCHDOG, STONITH_TIMEOUT);
    SHORTER(LEFT, cib_ms("monitor", "interval"));                                      // F3
    SHORTER(HV_ADOPT_MS, AGENT_ADOPT_PATIENCE_MS);                                     // F4
    SHORTER(2 * AGENT_HOUSEKEEPING_S * 1000, unit_ms("WatchdogSec"));                  // F5
    SHORTER(restart_ms(), unit_ms("TimeoutStartSec"));                                 // F6
}

static void test_clients(void)
{
    SHORTER(HTTP_CONNECT_MS, CLIENT_JOB_MS);                                           // C1
    SHORTER(CLIENT_JOB_MS, CLIENT_GET_MS);
    SHORTER(CLIENT_GET_MS, JOB_UNREACHABLE_MS);                                        // C2
    SHORTER((3 * AGENT_CIB_S + AGENT_TOOL_S) * 1000, CLIENT_SEND_MS);                  // C3
    SHORTER(AGENT_CALL_MS + AGENT_CIB_S * 1000, CLIENT_SEND_MS);                       // C4
    SHORTER(AGENT_CIB_S * 1000, AGENT_CALL_MS);
    SHORTER(3 * API_EVENTS_KEEP_ALIVE_S, EVENTS_SILENCE_S);                            // C5
    SHORTER(API_EVENTS_KEEP_ALIVE_S, AGENT_HTTP_TIMEOUT_S);                            // C6
    SHORTER(CONSOLE_ANSWER_MS, API_CONSOLE_SILENCE_S * 1000);                          // C7
    SHORTER(HV_ISCSI_PROBE_MS, DOCTOR_COLLECT_MS);                                     // C8
    SHORTER(DOCTOR_COLLECT_MS, DOCTOR_WAIT_MS);
    SHORTER(DOCTOR_WAIT_MS, CLIENT_GET_MS);
}

// What vmferry doctor takes for too short or too long is what the document says.
static void test_doctor(void)
{
    for (const DoctorOperation *op = doctor_operations; op->name != NULL; op++)
        g_assert_cmpint(op->timeout_ms, ==, metadata_timeout_ms(op->name));            // P1
    SHORTER(DOCTOR_REPLACEMENT_MAX_S * 1000, stop_share_ms(0, AGENT_STOP_SAVE_PERCENT)); // S8
}

// --- the document ---

// A row is "| `NAME` | where | 60 s | ...".
static void check_row(const char *line, GHashTable *known)
{
    g_auto(GStrv) cells = g_strsplit(line, "|", 5);
    if (g_strv_length(cells) < 5)
        return;
    const char *name = g_strstrip(cells[1]);
    if (*name != '`' || strpbrk(name + 1, " =") != NULL)
        return;
    g_autofree char *plain = g_strndup(name + 1, strcspn(name + 1, "`"));
    const Time *found = g_hash_table_lookup(known, plain);
    if (found == NULL)
        return;
    g_test_message("%s: %s", plain, cells[3]);
    g_assert_cmpint(parse_ms(g_strstrip(cells[3])), ==, found->ms);
    g_hash_table_remove(known, plain);
}

static void test_document(void)
{
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(SOURCE_DIR "/docs/TIMEOUTS.md", &text, NULL, NULL));
    g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < G_N_ELEMENTS(times); i++)
        g_hash_table_insert(known, (gpointer)times[i].name, (gpointer)&times[i]);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL; line++)
        check_row(*line, known);
    GHashTableIter iter;
    gpointer missing;
    g_hash_table_iter_init(&iter, known);
    while (g_hash_table_iter_next(&iter, &missing, NULL))
        g_test_message("docs/TIMEOUTS.md does not have %s", (char *)missing);
    g_assert_cmpuint(g_hash_table_size(known), ==, 0);
}

static GHashTable *numbers_in(const char *path, const char *pattern)
{
    g_autofree char *text = NULL;
    g_autoptr(GMatchInfo) match = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_autoptr(GRegex) regex = g_regex_new(pattern, 0, 0, NULL);
    GHashTable *numbers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match);
         g_match_info_next(match, NULL))
        g_hash_table_add(numbers, g_match_info_fetch(match, 1));
    return numbers;
}

// Each inequality is told and tested: document and test have the same numbers.
static void test_numbers(void)
{
    g_autoptr(GHashTable) told =
        numbers_in(SOURCE_DIR "/docs/TIMEOUTS.md", "\\n\\| ([PMSFC][0-9]+) \\|");
    g_autoptr(GHashTable) tested =
        numbers_in(SOURCE_DIR "/tests/agent/timeouts_test.c", "// ([PMSFC][0-9]+)\\n");
    GHashTableIter iter;
    gpointer number;
    g_hash_table_iter_init(&iter, told);
    while (g_hash_table_iter_next(&iter, &number, NULL))
        if (!g_hash_table_contains(tested, number))
            g_error("%s is not tested", (char *)number);
    g_assert_cmpuint(g_hash_table_size(told), ==, g_hash_table_size(tested));
    g_assert_cmpuint(g_hash_table_size(told), >, 30);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/timeouts/pacemaker", test_pacemaker);
    g_test_add_func("/timeouts/move", test_move);
    g_test_add_func("/timeouts/stop", test_stop);
    g_test_add_func("/timeouts/failure", test_failure);
    g_test_add_func("/timeouts/clients", test_clients);
    g_test_add_func("/timeouts/doctor", test_doctor);
    g_test_add_func("/timeouts/document", test_document);
    g_test_add_func("/timeouts/numbers", test_numbers);
    return g_test_run();
}
