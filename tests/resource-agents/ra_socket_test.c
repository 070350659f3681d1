// SPDX-License-Identifier: GPL-2.0-or-later
// The agent's side of the resource agent's socket. The agent behind it is the fake below.
#include "agent/ra_socket.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { WAIT_S = 20 };

static const size_t MAX_REQUEST = 262144; // as the agent takes it

struct Agent {
    unsigned calls;
    char *op, *vm, *definition, *peer;
    unsigned timeout_ms;
    bool probe;
    bool late; // the reply comes when the test gives it
    AgentRaReplyFn reply;
    gpointer data;
};

static void forget(Agent *agent)
{
    g_clear_pointer(&agent->op, g_free);
    g_clear_pointer(&agent->vm, g_free);
    g_clear_pointer(&agent->definition, g_free);
    g_clear_pointer(&agent->peer, g_free);
}

void agent_service_ra(Agent *agent, const AgentRaRequest *request, AgentRaReplyFn reply,
                      gpointer data)
{
    forget(agent);
    agent->calls++;
    agent->op = g_strdup(request->op);
    agent->vm = g_strdup(request->vm);
    agent->definition = g_strdup(request->definition);
    agent->peer = g_strdup(request->peer);
    agent->timeout_ms = request->timeout_ms;
    agent->probe = request->probe;
    agent->reply = reply;
    agent->data = data;
    if (!agent->late)
        reply(7, "not here", data);
}

typedef struct {
    Agent agent;
    char *dir, *path;
    AgentRaSocket *socket;
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    f->dir = g_dir_make_tmp("ra-socket-XXXXXX", &error);
    f->path = g_build_filename(f->dir, "ra.sock", NULL);
    f->socket = agent_ra_socket_new(&f->agent, f->dir, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    (void)data;
    agent_ra_socket_free(f->socket);
    g_assert_cmpint(g_access(f->path, F_OK), ==, -1);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    forget(&f->agent);
    g_free(f->path);
    g_free(f->dir);
}

// --- a client ---

static int client_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

static int ask(Fixture *f, const char *text, size_t length)
{
    int fd = client_socket(f->path);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &(int){1024 * 1024}, sizeof(int));
    g_assert_cmpint(send(fd, text, length, MSG_NOSIGNAL), ==, (gssize)length);
    return fd;
}

static gboolean time_over(gpointer over)
{
    *(bool *)over = true;
    return G_SOURCE_REMOVE;
}

// Runs the main loop until the peer has something to say or has gone; the length of what it said.
static ssize_t listen_to(int fd, char *text, size_t size)
{
    bool over = false;
    guint timer = g_timeout_add_seconds(WAIT_S, time_over, &over);
    ssize_t length;
    while ((length = recv(fd, text, size - 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN && !over)
        g_main_context_iteration(NULL, g_main_context_pending(NULL));
    g_assert_false(over);
    g_source_remove(timer);
    text[MAX(length, 0)] = '\0';
    return length;
}

static void expect(Fixture *f, const char *request, int ocf, const char *part)
{
    char text[4096];
    int fd = ask(f, request, strlen(request));
    g_assert_cmpint(listen_to(fd, text, sizeof text), >, 0);
    json_t *reply = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    g_assert_cmpint(json_integer_value(json_object_get(reply, "ocf")), ==, ocf);
    const char *message = json_string_value(json_object_get(reply, "message"));
    if (strstr(message, part) == NULL)
        g_error("\"%s\" does not hold \"%s\"", message, part);
    json_decref(reply);
    g_assert_cmpint(listen_to(fd, text, sizeof text), ==, 0); // one reply, then closed
    close(fd);
}

// --- tests ---

static void test_request(Fixture *f, gconstpointer data)
{
    (void)data;
    expect(f,
           "{\"op\":\"migrate_to\",\"vm\":\"a\",\"definition\":\"{}\",\"peer\":\"n2\","
           "\"timeout_ms\":60000,\"probe\":true}",
           7, "not here");
    g_assert_cmpstr(f->agent.op, ==, "migrate_to");
    g_assert_cmpstr(f->agent.vm, ==, "a");
    g_assert_cmpstr(f->agent.definition, ==, "{}");
    g_assert_cmpstr(f->agent.peer, ==, "n2");
    g_assert_cmpuint(f->agent.timeout_ms, ==, 60000);
    g_assert_true(f->agent.probe);
}

static void test_least_request(Fixture *f, gconstpointer data)
{
    (void)data;
    expect(f, "{\"op\":\"stop\",\"vm\":\"a\",\"timeout_ms\":1}", 7, "not here");
    g_assert_null(f->agent.definition);
    g_assert_null(f->agent.peer);
    g_assert_false(f->agent.probe);
}

static void test_refused(Fixture *f, gconstpointer data)
{
    (void)data;
    expect(f, "{", 2, "not JSON");
    expect(f, "[]", 2, "does not understand");
    expect(f, "{\"op\":\"stop\",\"timeout_ms\":1}", 2, "vm");
    expect(f, "{\"op\":\"stop\",\"vm\":\"a\",\"vm\":\"b\",\"timeout_ms\":1}", 2, "duplicate");
    expect(f, "{\"op\":\"stop\",\"vm\":\"a\",\"timeout_ms\":1,\"more\":1}", 2, "more");
    expect(f, "{\"op\":\"stop\",\"vm\":1,\"timeout_ms\":1}", 2, "does not understand");
    expect(f, "{\"op\":\"promote\",\"vm\":\"a\",\"timeout_ms\":1}", 2, "promote");
    expect(f, "{\"op\":\"stop\",\"vm\":\"../a\",\"timeout_ms\":1}", 2, "../a");
    expect(f, "{\"op\":\"stop\",\"vm\":\"\",\"timeout_ms\":1}", 2, "VM's name");
    expect(f, "{\"op\":\"stop\",\"vm\":\"a\",\"timeout_ms\":-1}", 2, "timeout_ms");
    expect(f, "{\"op\":\"stop\",\"vm\":\"a\",\"timeout_ms\":4294967296}", 2, "timeout_ms");
    g_assert_cmpuint(f->agent.calls, ==, 0);
}

static void test_size(Fixture *f, gconstpointer data)
{
    (void)data;
    g_autofree char *blanks = g_strnfill(MAX_REQUEST, ' ');
    g_autofree char *over =
        g_strconcat("{\"op\":\"stop\",\"vm\":\"a\",\"timeout_ms\":1}", blanks, NULL);
    expect(f, over, 2, "256 KiB");
    g_assert_cmpuint(f->agent.calls, ==, 0);
    over[MAX_REQUEST] = '\0';
    expect(f, over, 7, "not here");
}

static void await_calls(Fixture *f, unsigned calls)
{
    bool over = false;
    guint timer = g_timeout_add_seconds(WAIT_S, time_over, &over);
    while (f->agent.calls < calls && !over)
        g_main_context_iteration(NULL, TRUE);
    g_assert_false(over);
    g_source_remove(timer);
}

static const char stop_a[] = "{\"op\":\"stop\",\"vm\":\"a\",\"timeout_ms\":1}";

static void test_late_reply(Fixture *f, gconstpointer data)
{
    (void)data;
    char text[4096];
    f->agent.late = true;
    int fd = ask(f, stop_a, strlen(stop_a));
    await_calls(f, 1);
    g_assert_cmpint(recv(fd, text, sizeof text, MSG_DONTWAIT), ==, -1);
    f->agent.reply(0, "", f->agent.data);
    g_assert_cmpint(listen_to(fd, text, sizeof text), >, 0);
    g_assert_cmpstr(text, ==, "{\"ocf\":0,\"message\":\"\"}");
    close(fd);
}

static void test_message_not_utf8(Fixture *f, gconstpointer data)
{
    (void)data;
    char text[4096];
    f->agent.late = true;
    int fd = ask(f, stop_a, strlen(stop_a));
    await_calls(f, 1);
    f->agent.reply(1, "QEMU: \xff", f->agent.data);
    g_assert_cmpint(listen_to(fd, text, sizeof text), >, 0);
    g_assert_nonnull(strstr(text, "\"ocf\":1"));
    close(fd);
}

static void test_client_gone(Fixture *f, gconstpointer data)
{
    (void)data;
    f->agent.late = true;
    int fd = ask(f, stop_a, strlen(stop_a));
    await_calls(f, 1);
    close(fd);
    f->agent.reply(0, "", f->agent.data);
    f->agent.late = false;
    expect(f, stop_a, 7, "not here"); // the socket still serves
}

static void test_client_says_nothing(Fixture *f, gconstpointer data)
{
    (void)data;
    int idle = client_socket(f->path);
    close(client_socket(f->path));
    expect(f, stop_a, 7, "not here");
    close(idle); // tear_down frees the socket while it does not know of this yet
}

static void test_freed_before_reply(Fixture *f, gconstpointer data)
{
    (void)data;
    char text[4096];
    f->agent.late = true;
    int fd = ask(f, stop_a, strlen(stop_a));
    await_calls(f, 1);
    g_clear_pointer(&f->socket, agent_ra_socket_free);
    g_assert_cmpint(recv(fd, text, sizeof text, MSG_DONTWAIT), ==, 0); // lost: to be asked again
    f->agent.reply(0, "", f->agent.data);
    close(fd);
}

static void test_mode(Fixture *f, gconstpointer data)
{
    (void)data;
    struct stat info;
    g_assert_cmpint(stat(f->path, &info), ==, 0);
    g_assert_cmpuint(info.st_mode, ==, S_IFSOCK | 0600);
}

static void test_root_only(Fixture *f, gconstpointer data)
{
    (void)data;
    char text[16];
    if (geteuid() != 0) {
        g_test_skip("needs root");
        return;
    }
    g_assert_cmpint(chmod(f->dir, 0755), ==, 0);
    g_assert_cmpint(chmod(f->path, 0666), ==, 0); // the mode is not the only guard
    g_assert_cmpint(seteuid(65534), ==, 0);
    int fd = client_socket(f->path);
    g_assert_cmpint(seteuid(0), ==, 0);
    g_test_expect_message("vmferry", G_LOG_LEVEL_WARNING, "*only root may ask*");
    g_assert_cmpint(listen_to(fd, text, sizeof text), ==, 0);
    g_test_assert_expected_messages();
    close(fd);
}

static void test_second_agent(Fixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    g_assert_null(agent_ra_socket_new(&f->agent, f->dir, &error));
    g_assert_error(error, AGENT_ERROR, AGENT_ERROR_CONFLICT);
    g_assert_nonnull(strstr(error->message, f->path));
    expect(f, stop_a, 7, "not here"); // the first one still serves
}

static void test_stale_socket(Fixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    g_autofree char *kept = g_strconcat(f->path, ".kept", NULL);
    g_assert_cmpint(link(f->path, kept), ==, 0);
    g_clear_pointer(&f->socket, agent_ra_socket_free);
    g_assert_cmpint(g_rename(kept, f->path), ==, 0);
    f->socket = agent_ra_socket_new(&f->agent, f->dir, &error);
    g_assert_no_error(error);
    expect(f, stop_a, 7, "not here");
}

static void test_no_run_dir(Fixture *f, gconstpointer data)
{
    (void)data;
    g_autoptr(GError) error = NULL;
    g_autofree char *missing = g_build_filename(f->dir, "missing", NULL);
    g_assert_null(agent_ra_socket_new(&f->agent, missing, &error));
    g_assert_error(error, AGENT_ERROR, AGENT_ERROR_FAILED);
    g_clear_error(&error);
    g_autofree char *name = g_strnfill(120, 'x');
    g_autofree char *longer = g_build_filename(f->dir, name, NULL);
    g_assert_null(agent_ra_socket_new(&f->agent, longer, &error));
    g_assert_nonnull(strstr(error->message, "too long"));
}

#define ADD(name, function)                                                                        \
    g_test_add("/ra_socket/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("request", test_request);
    ADD("least-request", test_least_request);
    ADD("refused", test_refused);
    ADD("size", test_size);
    ADD("late-reply", test_late_reply);
    ADD("message-not-utf8", test_message_not_utf8);
    ADD("client-gone", test_client_gone);
    ADD("client-says-nothing", test_client_says_nothing);
    ADD("freed-before-reply", test_freed_before_reply);
    ADD("mode", test_mode);
    ADD("root-only", test_root_only);
    ADD("second-agent", test_second_agent);
    ADD("stale-socket", test_stale_socket);
    ADD("no-run-dir", test_no_run_dir);
    return g_test_run();
}
