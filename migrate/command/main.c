// SPDX-License-Identifier: GPL-2.0-or-later
// vmferry: the admin's command. Finds the subcommand and runs it.
#include "migrate/command/commands.h"
#include "migrate/command/error.h"
#include "migrate/command/output.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *name;
    const char *arguments;
    const char *summary;
    guint min, max; // arguments without options
    OptionMask mask;
    CommandRun run;
} Command;

static const Command commands[] = {
    {"status", "", "Show the cluster, its nodes and VMs", 0, 0, OPTION_NONE, command_status},
    {"list", "", "List the VMs", 0, 0, OPTION_NONE, command_list},
    {"show", "VM", "Show all about a VM", 1, 1, OPTION_NONE, command_show},
    {"define", "FILE|-", "Create a VM from its JSON definition and start it", 1, 1,
     OPTION_UPDATE | OPTION_NO_START, command_define},
    {"undefine", "VM", "Remove a stopped VM from the cluster", 1, 1, OPTION_NONE, command_undefine},
    {"start", "VM", "Start a VM, from its saved memory where there is some", 1, 1, OPTION_NONE,
     command_start},
    {"stop", "VM", "Stop a VM as its on_stop says, or as told", 1, 1, OPTION_STOP_MODE,
     command_stop},
    {"save", "VM", "Save a VM's memory and stop it", 1, 1, OPTION_NONE, command_save},
    {"migrate", "VM", "Move a running VM to another node", 1, 1, OPTION_TO, command_migrate},
    {"discard", "VM", "Throw a stopped VM's saved memory away", 1, 1, OPTION_NONE, command_discard},
    {"console", "VM", "Use a VM's serial console; Ctrl-] leaves", 1, 1, OPTION_NONE,
     command_console},
    {"node", "[NODE]", "List the nodes, or show all about one", 0, 1, OPTION_NONE, command_node},
    {"storage", "VERB [VM]", "list, check, login or logout: what VMs' disks lie on", 1, 2, OPTION_NODE,
     command_storage},
    {"standby", "NODE", "Move all VMs off a node and give it no more", 1, 1, OPTION_NONE,
     command_standby},
    {"unstandby", "NODE", "Let a node have VMs again", 1, 1, OPTION_NONE, command_unstandby},
    {"events", "", "Show what happened", 0, 0, OPTION_FOLLOW | OPTION_SINCE, command_events},
    {"doctor", "", "Say what is missing or dangerous in the cluster", 0, 0, OPTION_NONE,
     command_doctor},
    {"jobs", "", "List running and recent jobs", 0, 0, OPTION_NONE, command_jobs},
};

static const Command *find(const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_overview(Options *options)
{
    g_autofree char *global = options_global_help(options);
    printf("Usage: vmferry [OPTION...] COMMAND [ARGUMENT...]\n\n"
           "Runs KVM VMs on a cluster and moves them between its nodes.\n\nCommands:\n");
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_autofree char *usage = g_strconcat(commands[i].name, " ", commands[i].arguments, NULL);
        printf("  %-18s %s\n", usage, commands[i].summary);
    }
    printf("  %-18s %s\n\n%s", "help [COMMAND]", "Show this help, or a command's", global);
    printf("Exit status:\n"
           "  0  done\n"
           "  1  failed (a job, too); doctor: a danger, a warning or something unknown\n"
           "  2  the command line is wrong\n"
           "  3  no such VM, node or job\n"
           "  4  refused: an invalid definition, a conflict, a check that said no\n"
           "  5  no node could be reached, or the token was not accepted\n"
           "  6  doctor: the node that was asked could not look at the cluster\n");
}

static bool print_help(Options *options, const char *name, GError **error)
{
    const Command *command = name != NULL ? find(name) : NULL;
    if (name == NULL) {
        print_overview(options);
        return true;
    }
    if (command == NULL) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE,
                    "there is no command \"%s\"; `vmferry help` lists all", name);
        return false;
    }
    g_autofree char *usage = g_strconcat(command->name, " ", command->arguments, NULL);
    g_autofree char *help = options_command_help(options, usage, command->summary, command->mask);
    printf("%s", help);
    return true;
}

static const Command *choose(const char *name, GError **error)
{
    const Command *command = name != NULL ? find(name) : NULL;
    if (name == NULL)
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE,
                    "a command is missing; `vmferry help` lists all");
    else if (command == NULL)
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE,
                    "there is no %s \"%s\"%s; `vmferry help` lists all",
                    name[0] == '-' ? "option" : "command", name,
                    name[0] == '-' ? " before the command" : "");
    return command;
}

static bool run(Options *options, const Command *command, char ***argv, GError **error)
{
    if (!options_parse_command(options, command->mask, argv, error))
        return false;
    char **args = *argv + 2;
    guint count = g_strv_length(args);
    if (count < command->min || count > command->max) {
        g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE, "%s; it is `vmferry %s %s`",
                    count < command->min ? "an argument is missing"
                                         : "there are too many arguments",
                    command->name, command->arguments);
        return false;
    }
    for (guint i = 0; i < count; i++)
        if (*args[i] == '\0') {
            g_set_error(error, COMMAND_ERROR, COMMAND_ERROR_USAGE, "an argument is empty");
            return false;
        }
    g_autoptr(Client) client = client_new(options, error);
    return client != NULL && command->run(client, options, args, error);
}

static bool dispatch(Options *options, char ***argv, GError **error)
{
    if (!options_parse_global(options, argv, error))
        return false;
    if (options->version) {
        printf("vmferry %s\n", VMFERRY_VERSION);
        return true;
    }
    const char *name = (*argv)[0] != NULL ? (*argv)[1] : NULL;
    if (name != NULL && strcmp(name, "help") == 0)
        return print_help(options, (*argv)[2], error);
    if (options->help)
        return print_help(options, name, error);
    const Command *command = choose(name, error);
    return command != NULL && run(options, command, argv, error);
}

int main(int argc, char **argv)
{
    (void)argc;
    setlocale(LC_ALL, "");
    g_auto(GStrv) words = g_strdupv(argv);
    g_auto(Options) options = {.since = -1};
    g_autoptr(GError) error = NULL;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    bool done = dispatch(&options, &words, &error);
    curl_global_cleanup();
    if (done && (fflush(stdout) != 0 || ferror(stdout))) {
        g_set_error(&error, COMMAND_ERROR, COMMAND_ERROR_FAILED,
                    "standard output cannot be written: %s", g_strerror(errno));
        done = false;
    }
    if (done)
        return EXIT_DONE;
    if (g_error_matches(error, COMMAND_ERROR, COMMAND_ERROR_FINDINGS))
        return EXIT_FAILED; // they are on stdout
    bool printed = g_error_matches(error, COMMAND_ERROR, COMMAND_ERROR_JOB_FAILED);
    output_error(error, options.json && !printed);
    return command_error_exit_code(error);
}
