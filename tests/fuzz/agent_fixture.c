// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/agent_fixture.h"

#include "agent/agent.h"
#include "agent/state.h"
#include "agent/vm.h"
#include "agent/worker.h"
#include "tests/fuzz/fuzz.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

static const char definition[] =
    "{\"name\":\"web\",\"uuid\":\"3f2a6c1e-0b5d-4f2e-9a7c-5d1e8b2f4a60\",\"memory_mib\":64,"
    "\"machine\":\"pc-q35-7.2\",\"state_area\":\"/vmferry-fuzz/area\"}";

static char *run_dir;

// --- storage: nothing is there ---

bool __wrap_hv_definition_check_node(const HvDefinition *of, const HvNodeCheck *check,
                                     GError **error);
bool __wrap_hv_definition_check_node(const HvDefinition *of, const HvNodeCheck *check,
                                     GError **error)
{
    (void)check;
    g_set_error(error, HV_ERROR, HV_ERROR_RESOURCE, "%s: no disk is visible", of->name);
    return false;
}

FerryArea *__wrap_ferry_area_open(const char *path, GError **error);
FerryArea *__wrap_ferry_area_open(const char *path, GError **error)
{
    g_set_error(error, FERRY_ERROR, FERRY_ERROR_IO, "state area %s: not visible", path);
    return NULL;
}

typedef struct {
    AgentWorkDoneFn done;
    gpointer work;
} Delivery;

static gboolean deliver(gpointer data)
{
    g_autofree Delivery *delivery = data;
    delivery->done(delivery->work);
    return G_SOURCE_REMOVE;
}

// On this thread, so that an input always does the same.
void __wrap_agent_worker_run(AgentWorkFn run, AgentWorkDoneFn done, gpointer work);
void __wrap_agent_worker_run(AgentWorkFn run, AgentWorkDoneFn done, gpointer work)
{
    Delivery *delivery = g_new(Delivery, 1);
    *delivery = (Delivery){done, work};
    run(work);
    g_idle_add_full(G_PRIORITY_HIGH, deliver, delivery, NULL);
}

// --- the node: nothing is looked at, no tool is run ---

void __wrap_doctor_collect(Agent *agent, void (*done)(json_t *sections, gpointer data),
                           gpointer data);
void __wrap_doctor_collect(Agent *agent, void (*done)(json_t *sections, gpointer data),
                           gpointer data)
{
    (void)agent;
    json_t *sections = json_object();
    done(sections, data);
    json_decref(sections);
}

// --- corosync ---

bool agent_cluster_connected(const AgentCluster *cluster)
{
    (void)cluster;
    return true;
}

bool agent_cluster_quorate(const AgentCluster *cluster)
{
    (void)cluster;
    return true;
}

const char *agent_cluster_local_node(const AgentCluster *cluster)
{
    (void)cluster;
    return FIXTURE_NODE;
}

bool agent_cluster_has(const AgentCluster *cluster, const char *node)
{
    (void)cluster;
    return strcmp(node, FIXTURE_NODE) == 0 || strcmp(node, "n2") == 0;
}

char **agent_cluster_members(const AgentCluster *cluster)
{
    (void)cluster;
    return g_strsplit(FIXTURE_NODE ",n2", ",", -1);
}

// What cannot be sent would be an answer that never comes.
bool agent_cluster_send(AgentCluster *cluster, json_t *message, GError **error)
{
    (void)cluster, (void)error;
    char *text = json_dumps(message, JSON_COMPACT);
    FUZZ_REQUIRE(text != NULL, "a message to the other agents is not JSON");
    free(text);
    json_decref(message);
    return true;
}

json_t *agent_cluster_nodes(const AgentCluster *cluster)
{
    (void)cluster;
    return json_pack("[{s:s, s:i, s:b}]", "name", FIXTURE_NODE, "id", 1, "online", 1);
}

json_t *agent_cluster_corosync(const AgentCluster *cluster)
{
    (void)cluster;
    return json_object();
}

AgentCluster *agent_cluster_new(const AgentClusterEvents *events, gpointer data)
{
    (void)events, (void)data;
    return NULL;
}

void agent_cluster_free(AgentCluster *cluster)
{
    (void)cluster;
}

// --- Pacemaker ---

AgentPacemaker *agent_pacemaker_new(const AgentPacemakerEvents *events, gpointer data)
{
    (void)events, (void)data;
    return NULL;
}

void agent_pacemaker_free(AgentPacemaker *pacemaker)
{
    (void)pacemaker;
}

bool agent_pacemaker_connected(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    return true;
}

bool agent_pacemaker_joined(const AgentPacemaker *pacemaker, const char *node)
{
    (void)pacemaker;
    (void)node;
    return true;
}

json_t *agent_pacemaker_resources(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    return json_pack("[{s:s, s:s, s:s, s:b}]", "name", FIXTURE_VM, "definition", definition,
                     "target_role", "Started", "managed", 1);
}

json_t *agent_pacemaker_nodes(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    return json_pack("[{s:s, s:b, s:b, s:b}, {s:s, s:b, s:b, s:b}]", "name", FIXTURE_NODE, "online",
                     1, "standby", 0, "maintenance", 0, "name", "n2", "online", 1, "standby", 0,
                     "maintenance", 0);
}

json_t *agent_pacemaker_cluster(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    return json_object();
}

json_t *agent_pacemaker_facts(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    return json_pack("{s:[s, s], s:[]}", "nodes", FIXTURE_NODE, "n2", "vms");
}

json_t *agent_pacemaker_preferences(const AgentPacemaker *pacemaker)
{
    (void)pacemaker;
    return json_array();
}

const char *agent_pacemaker_definition(const AgentPacemaker *pacemaker, const char *name)
{
    (void)pacemaker;
    return strcmp(name, FIXTURE_VM) == 0 ? definition : NULL;
}

bool agent_pacemaker_move_failed(const AgentPacemaker *pacemaker, const char *name,
                                 const char *node)
{
    (void)pacemaker, (void)name, (void)node;
    return false;
}

bool agent_pacemaker_found(const AgentPacemaker *pacemaker, const char *name, const char *node)
{
    (void)pacemaker, (void)name, (void)node;
    return false;
}

typedef struct {
    AgentPacemakerDone done;
    gpointer data;
} Done;

static gboolean tell_done(gpointer data)
{
    g_autofree Done *done = data;
    done->done(NULL, done->data);
    return G_SOURCE_REMOVE;
}

static void done_later(AgentPacemakerDone function, gpointer data)
{
    if (function == NULL)
        return;
    Done *done = g_new(Done, 1);
    *done = (Done){function, data};
    g_idle_add(tell_done, done);
}

void agent_pacemaker_create(AgentPacemaker *pacemaker, const char *name, const char *text,
                            bool started, bool movable, AgentPacemakerDone done, gpointer data)
{
    (void)pacemaker, (void)name, (void)text, (void)started, (void)movable;
    done_later(done, data);
}

void agent_pacemaker_set_definition(AgentPacemaker *pacemaker, const char *name, const char *text,
                                    AgentPacemakerDone done, gpointer data)
{
    (void)pacemaker, (void)name, (void)text;
    done_later(done, data);
}

void agent_pacemaker_set_epoch(AgentPacemaker *pacemaker, const char *name, uint64_t epoch,
                               AgentPacemakerDone done, gpointer data)
{
    (void)pacemaker, (void)name, (void)epoch;
    done_later(done, data);
}

uint64_t agent_pacemaker_epoch(const AgentPacemaker *pacemaker, const char *name)
{
    (void)pacemaker, (void)name;
    return 0;
}

void agent_pacemaker_delete(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                            gpointer data)
{
    (void)pacemaker, (void)name;
    done_later(done, data);
}

void agent_pacemaker_set_role(AgentPacemaker *pacemaker, const char *name, bool started,
                              AgentPacemakerDone done, gpointer data)
{
    (void)pacemaker, (void)name, (void)started;
    done_later(done, data);
}

void agent_pacemaker_set_standby(AgentPacemaker *pacemaker, const char *node, bool standby,
                                 AgentPacemakerDone done, gpointer data)
{
    (void)pacemaker, (void)node, (void)standby;
    done_later(done, data);
}

void agent_pacemaker_prefer(AgentPacemaker *pacemaker, const char *name, const char *node,
                            const char *owner, unsigned lifetime_s, AgentPacemakerDone done,
                            gpointer data)
{
    (void)pacemaker, (void)name, (void)node, (void)owner, (void)lifetime_s;
    done_later(done, data);
}

void agent_pacemaker_unprefer(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                              gpointer data)
{
    (void)pacemaker, (void)name;
    done_later(done, data);
}

void agent_pacemaker_hold(AgentPacemaker *pacemaker, const char *name, unsigned lifetime_s,
                          AgentPacemakerDone done, gpointer data)
{
    (void)pacemaker, (void)name, (void)lifetime_s;
    done_later(done, data);
}

void agent_pacemaker_let_go(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                            gpointer data)
{
    (void)pacemaker, (void)name;
    done_later(done, data);
}

void agent_pacemaker_fail(AgentPacemaker *pacemaker, const char *name, const char *node,
                          AgentPacemakerDone done, gpointer data)
{
    (void)pacemaker, (void)name, (void)node;
    done_later(done, data);
}

void agent_pacemaker_refresh(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                             gpointer data)
{
    (void)pacemaker, (void)name;
    done_later(done, data);
}

void agent_pacemaker_cleanup(AgentPacemaker *pacemaker, const char *name, AgentPacemakerDone done,
                             gpointer data)
{
    (void)pacemaker, (void)name;
    done_later(done, data);
}

// --- the agent ---

static void clean_up(void)
{
    (void)g_rmdir(run_dir);
}

void agent_fixture_init(void)
{
    fuzz_log_quietly();
    run_dir = g_dir_make_tmp("fuzz-agent-XXXXXX", NULL);
    atexit(clean_up);
}

const char *agent_fixture_run_dir(void)
{
    return run_dir;
}

static void ignore_job(json_t *job, gpointer data)
{
    (void)job, (void)data;
}

static HvNode *node_new(void)
{
    HvNode *node = g_new0(HvNode, 1);
    node->qemu_path = g_strdup("/bin/false");
    node->qemu_version = g_strdup("7.2.22");
    node->accelerator = g_strdup("tcg");
    node->accelerator_reason = g_strdup("a test");
    return node;
}

// As agent_new and agent_connected make it, but for sockets, timers and a probe of QEMU.
Agent *agent_fixture_new(void)
{
    Agent *agent = g_new0(Agent, 1);
    agent->config = g_new0(AgentConfig, 1);
    agent->config->run_dir = g_strdup(run_dir);
    agent->config->libexec_dir = g_strdup(run_dir);
    agent->config->listen = g_new0(char *, 1);
    agent->node = node_new();
    agent->name = g_strdup(FIXTURE_NODE);
    agent_state_init(agent);
    agent->events = agent_events_new(FIXTURE_NODE);
    agent->jobs = agent_jobs_new(FIXTURE_NODE, ignore_job, NULL);
    agent->adopting = agent->ready = true;
    return agent;
}

void agent_fixture_free(Agent *agent)
{
    agent_free(agent);
}
