// SPDX-License-Identifier: GPL-2.0-or-later
// ocf:vmferry:VirtualMachine: a thin client of vmferryd. Wiring only.
#include "resource-agents/actions.h"
#include "resource-agents/metadata.h"
#include "resource-agents/ocf.h"
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(const Operation *operation);
} actions[] = {
    {"start", action_by_agent_checked},     {"stop", action_stop},
    {"monitor", action_monitor},            {"migrate_to", action_by_agent},
    {"migrate_from", action_by_agent},      {"reload-agent", action_by_agent_checked},
    {"validate-all", action_validate_all},
};

static int usage(FILE *to, int code)
{
    fputs("usage: VirtualMachine ACTION\n"
          "ACTION: start stop monitor migrate_to migrate_from reload-agent validate-all meta-data\n"
          "Parameters come from the environment (OCF 1.1); see ocf_vmferry_VirtualMachine(7).\n",
          to);
    return code;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return usage(stderr, OCF_ERR_ARGS);
    if (strcmp(argv[1], "meta-data") == 0)
        return fputs(metadata_xml(), stdout) < 0 || fflush(stdout) != 0 ? OCF_ERR_GENERIC
                                                                        : OCF_SUCCESS;
    if (strcmp(argv[1], "usage") == 0 || strcmp(argv[1], "help") == 0)
        return usage(stdout, OCF_SUCCESS);
    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (strcmp(argv[1], actions[i].name) != 0)
            continue;
        g_auto(Operation) operation = {0};
        int ocf = operation_read(&operation, argv[1], metadata_timeout_ms(argv[1]));
        return ocf == OCF_SUCCESS ? actions[i].run(&operation) : ocf;
    }
    return usage(stderr, OCF_ERR_UNIMPLEMENTED);
}
