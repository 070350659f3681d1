// SPDX-License-Identifier: GPL-2.0-or-later
// vmferryd's configuration: what stands in an accepted file is what the agent goes by.
#include "tests/fuzz/fuzz.h"

#include "agent/config.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

static char *path;

static void clean_up(void)
{
    (void)g_unlink(path);
    g_autofree char *dir = g_path_get_dirname(path);
    (void)g_rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_log_quietly();
    g_unsetenv("VMFERRY_QEMU");
    g_autofree char *dir = g_dir_make_tmp("fuzz-config-XXXXXX", NULL);
    path = g_build_filename(dir, "vmferryd.conf", NULL);
    atexit(clean_up);
    return 0;
}

// A value that was written is not silently replaced by the default.
static void check_value(GKeyFile *file, const char *key, const char *taken)
{
    g_autofree char *written = g_key_file_get_value(file, "agent", key, NULL);
    if (written != NULL)
        g_strstrip(written);
    if (written == NULL || written[0] == '\0' || strchr(written, '\\') != NULL)
        return;
    FUZZ_REQUIRE(g_strcmp0(written, taken) == 0, "%s is \"%s\" and is taken as \"%s\"", key,
                 written, taken != NULL ? taken : "(none)");
}

static void check_accepted(const AgentConfig *config)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    FUZZ_REQUIRE(g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, NULL), "not a key file");
    check_value(file, "token_file", config->token_file);
    check_value(file, "run_dir", config->run_dir);
    check_value(file, "libexec_dir", config->libexec_dir);
    check_value(file, "qemu", config->qemu);
    for (char **address = config->listen; *address != NULL; address++)
        FUZZ_REQUIRE(**address != '\0', "an empty address");
    g_autofree char *listen = g_key_file_get_value(file, "agent", "listen", NULL);
    FUZZ_REQUIRE(config->listen[0] != NULL || listen == NULL ||
                     strspn(listen, "; \t\\s\n\r\f\v") == strlen(listen),
                 "listen is \"%s\" and nothing listens", listen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    fuzz_write_file(path, data, size);
    g_autoptr(AgentConfig) config = agent_config_load(path, &error);
    fuzz_check_error_names(config != NULL, error, path);
    if (config != NULL)
        check_accepted(config);
    return 0;
}
