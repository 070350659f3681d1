// SPDX-License-Identifier: GPL-2.0-or-later
#include "hvcore/launcher.h"

#include "hvcore/run.h"

#include <sys/wait.h>

enum { USERFAULT_MS = 5000 };

static char *keep_word(const int *fds, size_t n_fds)
{
    GString *word = g_string_new("--keep=");
    for (size_t i = 0; i < n_fds; i++)
        g_string_append_printf(word, "%s%d", i > 0 ? "," : "", fds[i]);
    return g_string_free(word, FALSE);
}

static GPtrArray *words_for(const HvLauncher *launcher, const int *fds, size_t n_fds)
{
    GPtrArray *words = g_ptr_array_new();
    g_ptr_array_add(words, g_strdup(launcher->program));
    if (launcher->user)
        g_ptr_array_add(words, g_strconcat("--user=", launcher->user->ids, NULL));
    if (n_fds)
        g_ptr_array_add(words, keep_word(fds, n_fds));
    return words;
}

static void put_before(GPtrArray *argv, GPtrArray *words)
{
    for (guint i = 0; i < words->len; i++)
        g_ptr_array_insert(argv, (gint)i, words->pdata[i]);
}

void hv_launcher_wrap(GPtrArray *argv, const HvLauncher *launcher, const int *fds, size_t n_fds)
{
    g_autoptr(GPtrArray) words = words_for(launcher, fds, n_fds);
    put_before(argv, words);
}

void hv_launcher_wrap_qemu(GPtrArray *argv, const HvLauncher *launcher, const int *fds,
                           size_t n_fds, const HvDefinition *definition, const int *disk_fds)
{
    g_autoptr(GPtrArray) words = words_for(launcher, fds, n_fds);
    for (size_t i = 0; i < definition->n_disks; i++) {
        const HvDisk *disk = &definition->disks[i];
        if (disk_fds[i] >= 0)
            g_ptr_array_add(words, g_strdup_printf("--open=%d:%s:%s", disk_fds[i],
                                                   disk->read_only ? "ro" : "rw", disk->path));
    }
    put_before(argv, words);
}

bool hv_launcher_try_userfault(const HvLauncher *launcher, bool device)
{
    g_autoptr(GPtrArray) argv = words_for(launcher, NULL, 0);
    g_ptr_array_set_free_func(argv, g_free);
    g_ptr_array_add(argv, g_strdup_printf("--try-userfault=%s", device ? "device" : "call"));
    g_ptr_array_add(argv, NULL);
    g_auto(HvRunResult) result = {0};
    g_autoptr(GError) error = NULL;
    if (hv_run((char *const *)argv->pdata, NULL, 0, USERFAULT_MS, &result, &error))
        return WIFEXITED(result.status) && WEXITSTATUS(result.status) == 0;
    g_debug("userfaultfd: %s", error->message);
    return false;
}
