// SPDX-License-Identifier: GPL-2.0-or-later
// vmferryd.conf: defaults, values, and what is refused by name.
#include "agent/config.h"

#include <glib/gstdio.h>
#include <string.h>

static AgentConfig *load(const char *text, GError **error)
{
    g_autofree char *dir = g_dir_make_tmp("vmferry-config-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "vmferryd.conf", NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    AgentConfig *config = agent_config_load(path, error);
    g_unlink(path);
    g_rmdir(dir);
    return config;
}

static AgentConfig *load_good(const char *text)
{
    g_autoptr(GError) error = NULL;
    AgentConfig *config = load(text, &error);
    g_assert_no_error(error);
    return config;
}

static void refuse(const char *text, const char *named)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(load(text, &error));
    g_assert_error(error, AGENT_ERROR, AGENT_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, named));
}

static void test_defaults(void)
{
    const char *const texts[] = {"", "[agent]\n", "# only a remark\n[agent]\n#qemu=/x\n"};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(AgentConfig) config = load_good(texts[i]);
        g_assert_cmpuint(g_strv_length(config->listen), ==, 1);
        g_assert_cmpstr(config->listen[0], ==, "127.0.0.1:7791");
        g_assert_cmpstr(config->token_file, ==, "/etc/vmferry/token");
        g_assert_cmpstr(config->run_dir, ==, "/run/vmferry");
        g_assert_true(g_str_has_suffix(config->libexec_dir, "/vmferry"));
        g_assert_null(config->qemu);
        g_assert_cmpstr(config->qemu_user, ==, "vmferry-qemu");
        g_assert_null(config->accelerator);
    }
}

static void test_values(void)
{
    g_autoptr(AgentConfig) config = load_good("[agent]\n"
                                              "listen = 127.0.0.1:1 ; [fd00::1]:7791;\n"
                                              "token_file=/t\nrun_dir=/r\nlibexec_dir=/l\n"
                                              "qemu=/q\n"
                                              "qemu_user=someone\n"
                                              "accelerator=tcg\n");
    g_assert_cmpuint(g_strv_length(config->listen), ==, 2);
    g_assert_cmpstr(config->listen[0], ==, "127.0.0.1:1");
    g_assert_cmpstr(config->listen[1], ==, "[fd00::1]:7791");
    g_assert_cmpstr(config->token_file, ==, "/t");
    g_assert_cmpstr(config->run_dir, ==, "/r");
    g_assert_cmpstr(config->libexec_dir, ==, "/l");
    g_assert_cmpstr(config->qemu, ==, "/q");
    g_assert_cmpstr(config->qemu_user, ==, "someone");
    g_assert_cmpstr(config->accelerator, ==, "tcg");
}

static void test_no_tcp(void)
{
    g_autoptr(AgentConfig) config = load_good("[agent]\nlisten=\n");
    g_assert_cmpuint(g_strv_length(config->listen), ==, 0);
}

static void test_environment(void)
{
    g_setenv("VMFERRY_QEMU", "/from/environment", TRUE);
    g_autoptr(AgentConfig) config = load_good("[agent]\nqemu=/q\n");
    g_unsetenv("VMFERRY_QEMU");
    g_assert_cmpstr(config->qemu, ==, "/from/environment");
}

static void test_refused(void)
{
    refuse("[agent]\nlissten=127.0.0.1:1\n", "\"lissten\"");
    refuse("[agents]\n", "\"agents\"");
    refuse("[agent]\nrun_dir=run/vmferry\n", "run_dir");
    refuse("listen=127.0.0.1:1\n", "vmferryd.conf");
    refuse("[agent]\nlisten=10.0.0.1:1\\x\n", "listen");
    refuse("[agent]\naccelerator=xen\n", "xen");
    refuse("[agent]\ntoken_file=/etc/\xff\n", "token_file");
}

static void test_missing(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(agent_config_load("/nonexistent/vmferryd.conf", &error));
    g_assert_error(error, AGENT_ERROR, AGENT_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "/nonexistent/vmferryd.conf"));
}

static void test_example(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(AgentConfig) config = agent_config_load(EXAMPLE_CONFIG, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(config->listen[0], ==, "127.0.0.1:7791");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_unsetenv("VMFERRY_QEMU");
    g_test_add_func("/config/defaults", test_defaults);
    g_test_add_func("/config/values", test_values);
    g_test_add_func("/config/no-tcp", test_no_tcp);
    g_test_add_func("/config/environment", test_environment);
    g_test_add_func("/config/refused", test_refused);
    g_test_add_func("/config/missing", test_missing);
    g_test_add_func("/config/example", test_example);
    return g_test_run();
}
