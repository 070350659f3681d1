// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/config.h"

#include <string.h>

#define GROUP "agent"

static const char *const keys[] = {"listen", "token_file", "run_dir", "libexec_dir", "qemu", "qemu_user",
                                   "accelerator", NULL};

void agent_config_free(AgentConfig *config)
{
    if (config == NULL)
        return;
    g_strfreev(config->listen);
    g_free(config->token_file);
    g_free(config->run_dir);
    g_free(config->libexec_dir);
    g_free(config->qemu);
    g_free(config->qemu_user);
    g_free(config->accelerator);
    g_free(config);
}

static bool refuse(GError **error, const char *path, const char *what, const char *name)
{
    g_autofree char *known = g_strjoinv(", ", (char **)keys);
    g_autofree char *valid = g_utf8_make_valid(name, -1);
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                "%s: %s \"%s\" is not known; there is only the group [" GROUP "] with %s", path,
                what, valid, known);
    return false;
}

// A key that is misspelled would otherwise be a setting that silently does nothing.
static bool check_names(GKeyFile *file, const char *path, GError **error)
{
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
    for (char **group = groups; *group != NULL; group++)
        if (strcmp(*group, GROUP) != 0)
            return refuse(error, path, "the group", *group);
    g_auto(GStrv) found = g_key_file_get_keys(file, GROUP, NULL, NULL);
    for (char **key = found; key != NULL && *key != NULL; key++)
        if (!g_strv_contains(keys, *key))
            return refuse(error, path, "the key", *key);
    return true;
}

// A value that GLib cannot read (not UTF-8, an unknown escape) would otherwise become the default.
static bool check_values(GKeyFile *file, const char *path, GError **error)
{
    for (const char *const *key = keys; *key != NULL; key++) {
        g_autoptr(GError) cause = NULL;
        if (!g_key_file_has_key(file, GROUP, *key, NULL))
            continue;
        g_free(g_key_file_get_string(file, GROUP, *key, &cause)); // may be set beside an error
        if (cause == NULL)
            continue;
        g_autofree char *why = g_utf8_make_valid(cause->message, -1);
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID, "%s: the value of %s: %s", path, *key,
                    why);
        return false;
    }
    return true;
}

static char *get(GKeyFile *file, const char *key, const char *otherwise)
{
    g_autofree char *value = g_key_file_get_string(file, GROUP, key, NULL);
    if (value != NULL)
        g_strstrip(value);
    return value != NULL && value[0] != '\0' ? g_steal_pointer(&value) : g_strdup(otherwise);
}

static char **get_listen(GKeyFile *file)
{
    if (!g_key_file_has_key(file, GROUP, "listen", NULL))
        return g_strsplit("127.0.0.1:7791", ";", -1);
    g_auto(GStrv) values = g_key_file_get_string_list(file, GROUP, "listen", NULL, NULL);
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    for (char **value = values; value != NULL && *value != NULL; value++)
        if (g_strstrip(*value)[0] != '\0')
            g_strv_builder_add(builder, *value);
    return g_strv_builder_end(builder);
}

static bool check_absolute(const char *path, const char *key, const char *value, GError **error)
{
    if (value == NULL || g_path_is_absolute(value))
        return true;
    g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                "%s: %s is \"%s\"; it needs a path that begins with /", path, key, value);
    return false;
}

static bool check_paths(const AgentConfig *config, const char *path, GError **error)
{
    return check_absolute(path, "token_file", config->token_file, error) &&
           check_absolute(path, "run_dir", config->run_dir, error) &&
           check_absolute(path, "libexec_dir", config->libexec_dir, error) &&
           check_absolute(path, "qemu", config->qemu, error);
}

static bool get_accelerator(GKeyFile *file, const char *path, char **accelerator, GError **error)
{
    static const char *const known[] = {"auto", "kvm", "tcg", NULL};
    g_autofree char *value = get(file, "accelerator", "auto");
    if (!g_strv_contains(known, value)) {
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID,
                    "%s: accelerator is \"%s\"; it is \"auto\", \"kvm\" or \"tcg\"", path,
                    value);
        return false;
    }
    *accelerator = strcmp(value, "auto") == 0 ? NULL : g_steal_pointer(&value);
    return true;
}

AgentConfig *agent_config_load(const char *path, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) cause = NULL;
    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &cause)) {
        g_autofree char *why = g_utf8_make_valid(cause->message, -1);
        g_set_error(error, AGENT_ERROR, AGENT_ERROR_INVALID, "%s: %s%s", path, why,
                    cause->domain == G_KEY_FILE_ERROR ? "; see vmferryd.conf(5)" : "");
        return NULL;
    }
    if (!check_names(file, path, error) || !check_values(file, path, error))
        return NULL;
    g_autoptr(AgentConfig) config = g_new0(AgentConfig, 1);
    config->listen = get_listen(file);
    config->token_file = get(file, "token_file", "/etc/vmferry/token");
    config->run_dir = get(file, "run_dir", "/run/vmferry");
    config->libexec_dir = get(file, "libexec_dir", VMFERRY_LIBEXEC_DIR);
    const char *qemu = g_getenv("VMFERRY_QEMU");
    config->qemu = qemu != NULL && qemu[0] != '\0' ? g_strdup(qemu) : get(file, "qemu", NULL);
    config->qemu_user = get(file, "qemu_user", "vmferry-qemu");
    if (!get_accelerator(file, path, &config->accelerator, error))
        return NULL;
    return check_paths(config, path, error) ? g_steal_pointer(&config) : NULL;
}
