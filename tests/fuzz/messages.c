// SPDX-License-Identifier: GPL-2.0-or-later
// What other agents say: any JSON, of any kind of message, a line each. The agent stays able to
// answer for its node.
#include "tests/fuzz/fuzz.h"

#include "agent/messages.h"
#include "agent/status.h"
#include "tests/fuzz/agent_fixture.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    agent_fixture_init();
    return 0;
}

static void on_reply(json_t *result, const GError *error, gpointer data)
{
    (void)result;
    FUZZ_REQUIRE(error == NULL || g_utf8_validate(error->message, -1, NULL), "not UTF-8");
    ++*(unsigned *)data;
}

static void change_membership(Agent *agent, char how)
{
    const AgentClusterEvents *events = &agent_messages_cluster_events;
    if (how == 'j')
        events->joined("n2", agent);
    else if (how == 'p')
        events->left("n2", AGENT_LEFT_PROCESS, agent);
    else if (how == 'q')
        events->quorum(false, agent);
    else if (how == 'l')
        events->lost(agent);
}

static void receive(Agent *agent, const char *from, const char *line)
{
    json_t *message = json_loads(line, 0, NULL);
    if (json_is_object(message))
        agent_messages_cluster_events.message(from, message, agent);
    json_decref(message);
    fuzz_run_loop();
}

static void dump(json_t *json, const char *what)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    FUZZ_REQUIRE(text != NULL, "%s cannot be told", what);
    free(text);
    json_decref(json);
}

// What the API shows.
static void look(Agent *agent)
{
    agent_status_peek(agent);
    fuzz_run_loop();
    dump(agent_status_vms(agent), "the VMs");
    dump(agent_status_nodes(agent), "the nodes");
    dump(agent_jobs_list(agent->jobs), "the jobs");
    dump(agent_events_since(agent->events, 0), "the events");
    json_t *vm = agent_status_vm(agent, FIXTURE_VM);
    FUZZ_REQUIRE(vm != NULL, "the VM is gone");
    dump(vm, "the VM");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = {data, size};
    guint mark = fuzz_sources_mark();
    unsigned replies = 0;
    Agent *agent = agent_fixture_new();
    g_autofree char *text = fuzz_rest(&input);
    g_auto(GStrv) lines = g_strsplit(text, "\n", 16);
    agent_messages_call(agent, "n2", "migrate", json_object(), on_reply, &replies);
    agent->ready = text[0] != '>'; // else they wait until the agent is
    for (char **line = lines; *line != NULL; line++) {
        if (**line == '!')
            change_membership(agent, (*line)[1]);
        else
            receive(agent, **line == ' ' ? FIXTURE_NODE : "n2", *line);
    }
    agent->ready = true;
    agent_messages_flush(agent);
    look(agent);
    agent_messages_cluster_events.left("n2", AGENT_LEFT_NODE, agent);
    fuzz_run_loop();
    FUZZ_REQUIRE(replies == 1, "%u replies to a call", replies);
    agent_fixture_free(agent);
    fuzz_sources_drop(mark);
    return 0;
}
