// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent/storage_tool.h"

#include "hvcore/run.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *storage_root = "";
const char *storage_tools;
unsigned storage_patience_ms = 20 * 1000; // a busy node looks at each new LUN for seconds

static char *find_program(const char *name)
{
    static const char *const usual[] = {"/usr/sbin", "/usr/bin", "/sbin", "/bin"};
    const char *const *places = storage_tools != NULL ? &storage_tools : usual;
    size_t count = storage_tools != NULL ? 1 : G_N_ELEMENTS(usual);
    for (size_t i = 0; i < count; i++) {
        g_autofree char *path = g_build_filename(places[i], name, NULL);
        if (access(path, X_OK) == 0)
            return g_steal_pointer(&path);
    }
    return NULL;
}

static char **with_path(const char *const *argv, const char *path)
{
    char **copy = g_strdupv((char **)argv);
    g_free(copy[0]);
    copy[0] = g_strdup(path);
    return copy;
}

bool storage_tool(const char *const *argv, const char *package, unsigned deadline_ms, int *status,
                  char **output, GError **error)
{
    g_autofree char *path = find_program(argv[0]);
    g_auto(HvRunResult) result = {0};
    if (path == NULL)
        return storage_refuse(error, "%s is missing on this node; install %s", argv[0], package);
    g_auto(GStrv) args = with_path(argv, path);
    if (!hv_run(args, NULL, 0, deadline_ms, &result, error))
        return false;
    if (!WIFEXITED(result.status))
        return storage_refuse(error, "%s was killed by signal %d", argv[0],
                              WTERMSIG(result.status));
    *status = WEXITSTATUS(result.status);
    if (output != NULL)
        *output = g_steal_pointer(&result.output);
    return true;
}

void storage_settle(unsigned deadline_ms)
{
    g_autofree char *limit = g_strdup_printf("--timeout=%u", MAX(deadline_ms / 1000, 1));
    const char *const argv[] = {"udevadm", "settle", limit, NULL};
    int status;
    (void)storage_tool(argv, "udev", deadline_ms + 1000, &status, NULL, NULL);
}

char *storage_path(const char *path)
{
    return g_strconcat(storage_root, path, NULL);
}

char *storage_line(const char *path)
{
    g_autofree char *full = storage_path(path);
    char *text = NULL;
    if (!g_file_get_contents(full, &text, NULL, NULL))
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return g_strstrip(text);
}

char **storage_names(const char *path)
{
    g_autofree char *full = storage_path(path);
    g_autoptr(GDir) dir = g_dir_open(full, 0, NULL);
    g_autoptr(GStrvBuilder) names = g_strv_builder_new();
    const char *name;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        g_strv_builder_add(names, name);
    return g_strv_builder_end(names);
}
