// SPDX-License-Identifier: GPL-2.0-or-later
// /etc/vmferry/vmferryd.conf (GKeyFile, group [agent]); unknown keys are refused by name.
#pragma once

#include "agent/error.h"
#include <stdbool.h>

typedef struct {
    char **listen;     // "ADDRESS:PORT", NULL-terminated; default 127.0.0.1:7791; [0] NULL: no TCP
    char *token_file;  // mode 0600; default /etc/vmferry/token
    char *run_dir;     // default /run/vmferry
    char *libexec_dir; // where vmferry-saver and vmferry-pager are
    char *qemu;        // path, NULL = search; the environment's VMFERRY_QEMU wins
    char *qemu_user;   // who QEMU runs as; default vmferry-qemu
    char *accelerator; // "kvm", "tcg"; NULL ("auto", the default): found out by trying
} AgentConfig;

AgentConfig *agent_config_load(const char *path, GError **error);
void agent_config_free(AgentConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AgentConfig, agent_config_free)
