// SPDX-License-Identifier: GPL-2.0-or-later
// Routes: what reaches the agent, what is answered, what is refused before it.
#include "tests/agent/api_support.h"

#include <string.h>

static const char *text(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void assert_problem(Server *server, const char *method, const char *path, const char *body,
                           unsigned status, const char *code)
{
    json_t *answer;
    g_assert_cmpuint(ask(server, method, path, body, &answer), ==, status);
    json_t *error = json_object_get(answer, "error");
    g_assert_cmpstr(text(error, "code"), ==, code);
    g_assert_cmpuint(strlen(text(error, "message")), >, 0);
    json_decref(answer);
}

static void test_asked(Server *server, gconstpointer data)
{
    (void)data;
    static const struct {
        const char *method, *path, *body, *asked;
        unsigned status;
    } cases[] = {
        {"GET", "/v1/doctor", NULL, "doctor", 200},
        {"GET", "/v1/storage", NULL, "storage report - -", 200},
        {"GET", "/v1/storage/a", NULL, "storage report a -", 200},
        {"POST", "/v1/storage/a/login", NULL, "storage login a -", 200},
        {"POST", "/v1/storage/a/logout", "{\"node\":\"n2\"}", "storage logout a n2", 200},
        {"POST", "/v1/vms", "{\"name\":\"a\"}", "define {\"name\":\"a\"} update=0 start=1", 201},
        {"POST", "/v1/vms?start=false", "{}", "define {} update=0 start=0", 201},
        {"PUT", "/v1/vms/a", "{\"name\":\"a\"}", "define {\"name\":\"a\"} update=1 start=0", 200},
        {"DELETE", "/v1/vms/a", NULL, "undefine a", 200},
        {"POST", "/v1/vms/a/start", NULL, "start a", 202},
        {"POST", "/v1/vms/a/stop", NULL, "stop a -", 202},
        {"POST", "/v1/vms/a/stop", "{\"mode\":\"shutdown\"}", "stop a shutdown", 202},
        {"POST", "/v1/vms/a/save", NULL, "save a", 202},
        {"POST", "/v1/vms/a/migrate", NULL, "migrate a -", 202},
        {"POST", "/v1/vms/a/migrate", "{\"to\":null}", "migrate a -", 202},
        {"POST", "/v1/vms/a/migrate", "{\"to\":\"n2\"}", "migrate a n2", 202},
        {"POST", "/v1/vms/a/discard", NULL, "discard a", 200},
        {"PUT", "/v1/nodes/n2/standby", "{\"standby\":true}", "standby n2 1", 200},
        {"PUT", "/v1/nodes/n2/standby", "{\"standby\":false}", "standby n2 0", 200},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        json_t *answer;
        unsigned status = ask(server, cases[i].method, cases[i].path, cases[i].body, &answer);
        g_assert_cmpuint(status, ==, cases[i].status);
        g_assert_cmpstr(server->agent.asked, ==, cases[i].asked);
        g_assert_cmpstr(text(answer, "job"), ==, "n1-7"); // the reply as it is
        json_decref(answer);
    }
}

static void test_refused_before(Server *server, gconstpointer data)
{
    (void)data;
    static const struct {
        const char *method, *path, *body;
    } cases[] = {
        {"POST", "/v1/vms", "{\"name\":"},
        {"POST", "/v1/vms", "[]"},
        {"POST", "/v1/storage/a/login", "{\"node\":2}"},
        {"POST", "/v1/storage/a/login", "{\"nodes\":\"n2\"}"},
        {"POST", "/v1/vms", NULL},
        {"POST", "/v1/vms", "{\"name\":\"a\",\"name\":\"b\"}"},
        {"POST", "/v1/vms?start=maybe", "{\"name\":\"a\"}"},
        {"PUT", "/v1/vms/a", "{\"name\":\"b\"}"},
        {"PUT", "/v1/vms/a", "{}"},
        {"POST", "/v1/vms/a/stop", "{\"mode\":\"gently\"}"},
        {"POST", "/v1/vms/a/stop", "{\"mod\":\"save\"}"},
        {"POST", "/v1/vms/a/stop", "{\"mode\":1}"},
        {"POST", "/v1/vms/a/migrate", "{\"to\":true}"},
        {"POST", "/v1/vms/a/migrate", "n2"},
        {"PUT", "/v1/nodes/n2/standby", "{}"},
        {"PUT", "/v1/nodes/n2/standby", "{\"standby\":1}"},
        {"GET", "/v1/events?since=yesterday", NULL},
        {"GET", "/v1/vms/here/console", NULL}, // without Upgrade
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_problem(server, cases[i].method, cases[i].path, cases[i].body, 400, "invalid");
    g_assert_null(server->agent.asked);
}

static void test_paths(Server *server, gconstpointer data)
{
    (void)data;
    static const char *const unknown[] = {"/",        "/v1",          "/v1/",
                                          "/v1/vms/", "/v1/vms/a/b",  "/v1/vms/a/start/",
                                          "/v2/vms",  "/v1/clusters", "/v1/vms//start"};
    for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++)
        assert_problem(server, "GET", unknown[i], NULL, 404, "not-found");
    assert_problem(server, "GET", "/v1/vms/nobody", NULL, 404, "not-found");
    assert_problem(server, "GET", "/v1/nodes/n9", NULL, 404, "not-found");
    assert_problem(server, "GET", "/v1/jobs/n1-9", NULL, 404, "not-found");
    assert_problem(server, "DELETE", "/v1/cluster", NULL, 405, "method-not-allowed");
    assert_problem(server, "BREW", "/v1/vms/a/start", NULL, 405, "method-not-allowed");
    g_autoptr(Client) client = client_unix(server);
    client_ask(client, "POST", "/v1/vms/a", "Connection: close\r\n", NULL);
    client_expect_eof(client);
    g_assert_nonnull(strstr(client->in->str, "\r\nAllow: GET, PUT, DELETE\r\n"));
}

static void test_looked_at(Server *server, gconstpointer data)
{
    (void)data;
    json_t *answer;
    g_assert_cmpuint(ask(server, "GET", "/v1/cluster", NULL, &answer), ==, 200);
    g_assert_cmpstr(text(answer, "local_node"), ==, "n1");
    json_decref(answer);
    g_assert_cmpuint(ask(server, "GET", "/v1/nodes", NULL, &answer), ==, 200);
    g_assert_cmpuint(json_array_size(answer), ==, 2);
    json_decref(answer);
    g_assert_cmpuint(ask(server, "GET", "/v1/nodes/n2", NULL, &answer), ==, 200);
    g_assert_cmpstr(text(answer, "address"), ==, "10.77.0.12:7791");
    json_decref(answer);
    g_assert_cmpuint(ask(server, "GET", "/v1/vms", NULL, &answer), ==, 200);
    g_assert_cmpuint(json_array_size(answer), ==, 2);
    json_decref(answer);
    g_assert_cmpuint(ask(server, "GET", "/v1/vms/here", NULL, &answer), ==, 200);
    g_assert_cmpstr(text(answer, "node"), ==, "n1");
    json_decref(answer);
}

static void test_jobs(Server *server, gconstpointer data)
{
    (void)data;
    agent_job_end(agent_job_start(server->agent.jobs, "start", "a"), NULL, NULL);
    agent_job_start(server->agent.jobs, "migrate", "b");
    json_t *answer;
    g_assert_cmpuint(ask(server, "GET", "/v1/jobs", NULL, &answer), ==, 200);
    g_assert_cmpuint(json_array_size(answer), ==, 2);
    g_assert_cmpstr(text(json_array_get(answer, 0), "kind"), ==, "migrate");
    g_autofree char *path =
        g_strconcat("/v1/jobs/", text(json_array_get(answer, 1), "id"), NULL);
    json_decref(answer);
    g_assert_cmpuint(ask(server, "GET", path, NULL, &answer), ==, 200);
    g_assert_cmpstr(text(answer, "state"), ==, "done");
    json_decref(answer);
}

static void test_errors(Server *server, gconstpointer data)
{
    (void)data;
    static const struct {
        int code;
        unsigned status;
        const char *name;
    } cases[] = {
        {AGENT_ERROR_INVALID, 400, "invalid"},   {AGENT_ERROR_NOT_FOUND, 404, "not-found"},
        {AGENT_ERROR_CONFLICT, 409, "conflict"}, {AGENT_ERROR_REFUSED, 422, "refused"},
        {AGENT_ERROR_FAILED, 500, "failed"},     {AGENT_ERROR_UNAVAILABLE, 503, "unavailable"},
        {AGENT_ERROR_TIMEOUT, 504, "timeout"},   {AGENT_ERROR_NOT_JOINED, 503, "not-joined"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_clear_error(&server->agent.refuse);
        server->agent.refuse = g_error_new(AGENT_ERROR, cases[i].code, "n2: \xff no");
        assert_problem(server, "POST", "/v1/vms/a/start", NULL, cases[i].status, cases[i].name);
    }
}

static void test_not_joined(Server *server, gconstpointer data)
{
    (void)data;
    server->agent.apart = true;
    assert_problem(server, "GET", "/v1/vms", NULL, 503, "not-joined");
    assert_problem(server, "GET", "/v1/nodes", NULL, 503, "not-joined");
    assert_problem(server, "GET", "/v1/nodes/n2", NULL, 503, "not-joined");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*function)(Server *server, gconstpointer data);
    } tests[] = {
        {"/api/asked", test_asked}, {"/api/refused-before", test_refused_before},
        {"/api/paths", test_paths}, {"/api/looked-at", test_looked_at},
        {"/api/jobs", test_jobs},   {"/api/errors", test_errors},
        {"/api/not-joined", test_not_joined},
    };
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        server_test(tests[i].path, tests[i].function);
    return g_test_run();
}
