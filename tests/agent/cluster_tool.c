// SPDX-License-Identifier: GPL-2.0-or-later
// Pacemaker's programs run beside the main loop: how each end is reported.
#include "agent/pacemaker_tool.h"

typedef struct {
    GMainLoop *loop;
    int calls, status;
    GError *error;
} Ending;

static void on_done(int status, const GError *error, gpointer data)
{
    Ending *ending = data;

    ending->calls++;
    ending->status = status;
    ending->error = error ? g_error_copy(error) : NULL;
    g_main_loop_quit(ending->loop);
}

static void run(Ending *ending, const char *script, guint timeout_s)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    g_autoptr(GError) error = NULL;

    ending->loop = g_main_loop_new(NULL, FALSE);
    g_assert_nonnull(pacemaker_tool_run(argv, timeout_s, on_done, ending, &error));
    g_assert_no_error(error);
    g_main_loop_run(ending->loop);
    g_main_loop_unref(ending->loop);
    g_assert_cmpint(ending->calls, ==, 1);
}

static void test_success(void)
{
    Ending ending = {0};

    run(&ending, "echo noise; echo remark >&2", 10);
    g_assert_no_error(ending.error);
    g_assert_cmpint(ending.status, ==, 0);
}

static void test_failure(void)
{
    Ending ending = {0};

    run(&ending, "echo 'no such thing' >&2; exit 105", 10);
    g_assert_error(ending.error, AGENT_ERROR, AGENT_ERROR_FAILED);
    g_assert_cmpint(ending.status, ==, 105);
    g_assert_cmpstr(ending.error->message, ==, "sh: exit code 105: no such thing");
    g_error_free(ending.error);
}

// A child that keeps stderr open after its parent's end must not hold us up.
static void test_orphan(void)
{
    Ending ending = {0};

    run(&ending, "sleep 2 & exit 1", 10);
    g_assert_error(ending.error, AGENT_ERROR, AGENT_ERROR_FAILED);
    g_error_free(ending.error);
}

static void test_timeout(void)
{
    Ending ending = {0};

    run(&ending, "exec sleep 60", 1);
    g_assert_error(ending.error, AGENT_ERROR, AGENT_ERROR_TIMEOUT);
    g_error_free(ending.error);
}

static void test_missing(void)
{
    const char *const argv[] = {"vmferry-no-such-program", NULL};
    g_autoptr(GError) error = NULL;

    g_assert_null(pacemaker_tool_run(argv, 1, on_done, NULL, &error));
    g_assert_error(error, AGENT_ERROR, AGENT_ERROR_FAILED);
}

static void test_free_before_the_end(void)
{
    const char *const argv[] = {"sleep", "60", NULL};
    Ending ending = {0};
    PacemakerTool *tool = pacemaker_tool_run(argv, 100, on_done, &ending, NULL);

    g_assert_nonnull(tool);
    pacemaker_tool_free(tool);
    g_assert_cmpint(ending.calls, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tool/success", test_success);
    g_test_add_func("/tool/failure", test_failure);
    g_test_add_func("/tool/orphan", test_orphan);
    g_test_add_func("/tool/timeout", test_timeout);
    g_test_add_func("/tool/missing", test_missing);
    g_test_add_func("/tool/free-before-the-end", test_free_before_the_end);
    return g_test_run();
}
