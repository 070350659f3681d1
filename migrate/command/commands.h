// SPDX-License-Identifier: GPL-2.0-or-later
// The subcommands. ARGS are their arguments without options, as many as main.c's table allows,
// NULL-terminated.
#pragma once

#include "migrate/command/client.h"

#include <stdbool.h>

typedef bool (*CommandRun)(Client *client, const Options *options, char **args, GError **error);

bool command_define(Client *client, const Options *options, char **args, GError **error);
bool command_undefine(Client *client, const Options *options, char **args, GError **error);
bool command_discard(Client *client, const Options *options, char **args, GError **error);
bool command_list(Client *client, const Options *options, char **args, GError **error);
bool command_show(Client *client, const Options *options, char **args, GError **error);
bool command_start(Client *client, const Options *options, char **args, GError **error);
bool command_stop(Client *client, const Options *options, char **args, GError **error);
bool command_save(Client *client, const Options *options, char **args, GError **error);
bool command_migrate(Client *client, const Options *options, char **args, GError **error);
bool command_status(Client *client, const Options *options, char **args, GError **error);
bool command_node(Client *client, const Options *options, char **args, GError **error);
bool command_storage(Client *client, const Options *options, char **args, GError **error);
bool command_standby(Client *client, const Options *options, char **args, GError **error);
bool command_unstandby(Client *client, const Options *options, char **args, GError **error);
bool command_events(Client *client, const Options *options, char **args, GError **error);
bool command_jobs(Client *client, const Options *options, char **args, GError **error);
bool command_doctor(Client *client, const Options *options, char **args, GError **error);
bool command_console(Client *client, const Options *options, char **args, GError **error);
