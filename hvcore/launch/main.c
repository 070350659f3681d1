// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry-launch: runs as root, opens what QEMU needs, and becomes QEMU as a user that may do
// nothing else. What it has to say goes to standard error, which is the VM's qemu.log.
#include "hvcore/launch/files.h"
#include "hvcore/launch/privileges.h"
#include "hvcore/launch/userfault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    char *user, *keep, *try_userfault;
    char **open;
} Options;

static void options_clear(Options *options)
{
    g_free(options->user);
    g_free(options->keep);
    g_free(options->try_userfault);
    g_strfreev(options->open);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static bool parse(int *argc, char ***argv, Options *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"user", 0, 0, G_OPTION_ARG_STRING, &options->user, "who to become", "UID:GID[:GID...]"},
        {"keep", 0, 0, G_OPTION_ARG_STRING, &options->keep, "descriptors that stay", "FD,..."},
        {"open", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->open, "opens a file before that",
         "FD:ro|rw:PATH"},
        {"try-userfault", 0, 0, G_OPTION_ARG_STRING, &options->try_userfault,
         "tells by the exit status whether userfaultfd can be used", "call|device"},
        {0},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("PROGRAM [ARG...]");
    g_option_context_set_strict_posix(context, TRUE); // PROGRAM's options are its own
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, error))
        return false;
    if (*argc > 1 || options->try_userfault)
        return true;
    g_set_error(error, HV_ERROR, HV_ERROR_START, "a program to run is missing");
    return false;
}

static bool prepare(const Options *options, GError **error)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    if (options->keep && !launch_keep(fds, options->keep, error))
        return false;
    for (char **open = options->open; open && *open; open++)
        if (!launch_open(fds, *open, error))
            return false;
    return launch_close_others(fds, error) &&
           (!options->user || launch_become(options->user, error));
}

int main(int argc, char **argv)
{
    g_auto(Options) options = {0};
    g_autoptr(GError) error = NULL;
    bool parsed = parse(&argc, &argv, &options, &error);
    if (!parsed || !prepare(&options, &error)) {
        fprintf(stderr, "vmferry-launch: %s\n", error->message);
        return parsed ? 1 : 2;
    }
    if (options.try_userfault)
        return launch_userfault(strcmp(options.try_userfault, "device") == 0) ? 0 : 1;
    (void)execv(argv[1], argv + 1);
    fprintf(stderr, "vmferry-launch: %s: %s\n", argv[1], strerror(errno));
    return 1;
}
