// SPDX-License-Identifier: GPL-2.0-or-later
#include "resource-agents/actions.h"

#include "hvcore/definition.h"
#include "resource-agents/client.h"
#include "resource-agents/ocf.h"
#include <string.h>

static int check_definition(const Operation *operation)
{
    static const HvNodeCheck check = {.accelerator = NULL}; // vmferryd knows it
    g_autoptr(GError) error = NULL;
    if (*operation->definition == '\0') {
        operation_reason("definition: the parameter is missing; `vmferry define` sets it");
        return OCF_ERR_CONFIGURED;
    }
    g_autoptr(HvDefinition) definition = hv_definition_parse(operation->definition, &error);
    if (definition == NULL) {
        operation_reason("definition: %s", error->message);
        return OCF_ERR_CONFIGURED;
    }
    if (strcmp(definition->name, operation->vm) != 0) {
        operation_reason("definition: name: it is \"%s\", but the resource is \"%s\"; they have to "
                         "be the same",
                         definition->name, operation->vm);
        return OCF_ERR_CONFIGURED;
    }
    if (operation->deep && strcmp(operation->action, "validate-all") == 0 &&
        !hv_definition_check_node(definition, &check, &error)) {
        operation_reason("%s", error->message);
        return OCF_ERR_INSTALLED; // another node may have what this one lacks
    }
    return OCF_SUCCESS;
}

int action_validate_all(const Operation *operation)
{
    return check_definition(operation);
}

int action_by_agent(const Operation *operation)
{
    int ocf = OCF_ERR_GENERIC;
    g_autofree char *message = NULL;
    gint64 until_us = operation->end_us;
    if (client_insist(operation, G_TIME_SPAN_DAY, until_us, &ocf, &message) != CLIENT_ANSWERED)
        ocf = OCF_ERR_GENERIC;
    if (ocf != OCF_SUCCESS)
        operation_reason("%s", message);
    return ocf;
}

int action_by_agent_checked(const Operation *operation)
{
    int ocf = check_definition(operation);
    return ocf == OCF_SUCCESS ? action_by_agent(operation) : ocf;
}
