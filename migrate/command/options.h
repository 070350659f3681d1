// SPDX-License-Identifier: GPL-2.0-or-later
// The command line: global options before or after the subcommand, the subcommand's own after it.
#pragma once

#include <glib.h>
#include <stdbool.h>

// Which of the options below a subcommand takes besides the global ones.
typedef enum {
    OPTION_NONE = 0,
    OPTION_UPDATE = 1 << 0,
    OPTION_NO_START = 1 << 1,
    OPTION_STOP_MODE = 1 << 2,
    OPTION_TO = 1 << 3,
    OPTION_FOLLOW = 1 << 4,
    OPTION_SINCE = 1 << 5,
    OPTION_NODE = 1 << 6,
} OptionMask;

typedef struct {
    // global
    gboolean json;
    char *url;
    char *token_file;
    gboolean no_wait;
    gboolean help;
    gboolean version;
    // a subcommand's
    gboolean update;
    gboolean no_start;
    gboolean save, shutdown, poweroff;
    char *to;
    char *node;
    gboolean follow;
    gint64 since; // -1: not given
} Options;

void options_clear(Options *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

// Takes the global options out of ARGV (from g_strdupv, shortened in place) wherever they stand.
bool options_parse_global(Options *options, char ***argv, GError **error);
// Takes the options in MASK out of ARGV; USAGE is the subcommand with its arguments.
bool options_parse_command(Options *options, OptionMask mask, char ***argv, GError **error);
// The help text of a subcommand. The caller frees.
char *options_command_help(Options *options, const char *usage, const char *summary,
                           OptionMask mask);
// The lines about the global options. The caller frees.
char *options_global_help(Options *options);
